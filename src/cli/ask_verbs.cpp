// run and chat: verbs that ask a model.
#include "app/chat_session.h"
#include "app/running.h"
#include "base/json.h"
#include "base/random.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/model_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <unistd.h>

namespace genesis::cli {

namespace {

// A pasted file is fine, a device that never ends is not.
constexpr std::size_t kMaxPromptBytes = 16 * 1024 * 1024;

// A small model may fall into a loop that only the context would end; nobody reads a longer answer.
constexpr int kDefaultMaxTokens = 512;

std::string read_standard_input() {
  std::string text;
  std::istreambuf_iterator<char> in(std::cin);
  for (; in != std::istreambuf_iterator<char>() && text.size() < kMaxPromptBytes; ++in) {
    text.push_back(*in);
  }
  return text;
}

// The OpenAI body that a remote upstream would want; the local engine reads the typed fields.
ChatRequest make_request(const AskOptions& options,
                         const std::string& route,
                         std::vector<ChatMessage> messages) {
  ChatRequest request;
  request.id = new_id("req-");
  request.route = route;
  request.tenant = "default";
  request.key_id = "cli";
  request.dialect = Dialect::kOpenAiChat;
  request.stream = true;
  request.sampling.temperature = options.temperature;
  request.sampling.seed = options.seed;
  request.sampling.max_tokens = options.max_tokens > 0 ? options.max_tokens : kDefaultMaxTokens;
  auto input = std::make_shared<ChatInput>();
  input->messages = std::move(messages);
  request.input = std::move(input);
  return request;
}

struct Opened {
  app::Config config;
  std::unique_ptr<app::ChatSession> session;
  std::string route;  // what to ask for
};

Result<Opened> open_session(const CommonOptions& common, const std::string& model) {
  CommonOptions quiet = common;
  const auto is_level = [](const app::OptionOverride& o) { return o.key == "log.level"; };
  // The answer is the output here; the engine's log lines would only stand in it.
  if (std::ranges::none_of(quiet.overrides, is_level)) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread, and for the child; keeps the user's
    ::setenv("GENESIS_LOG", "warn", 0);
  }
  GENESIS_TRY(const app::Home home, open_home(quiet));
  GENESIS_TRY(app::Config config, open_config(quiet, home));
  std::string route = model.empty() ? config.default_route : model;
  // A pulled model can be asked without an endpoint of its own.
  if (!model.empty() && !app::knows_name(config, model) && !app::read_running(home)) {
    if (const auto pulled = hub::ModelStore(home.models).find(model)) {
      app::serve_only(config, pulled->name);
      route = config.default_route;
    }
  }
  ProgressPrinter progress;
  auto session = app::ChatSession::open(
      config, home, [&](std::string_view phase, std::int64_t done, std::int64_t total) {
        progress.update(phase, done, total);
      });
  progress.finish();
  if (!session) {
    return std::unexpected(session.error());
  }
  return Opened{
      .config = std::move(config), .session = std::move(*session), .route = std::move(route)};
}

std::string answer_json(const app::Answer& answer) {
  JsonWriter writer;
  writer.begin_object();
  writer.field("answer", answer.text);
  writer.field("model", answer.served.model);
  writer.field("endpoint", answer.served.endpoint);
  writer.field("tier", tier_name(answer.served.tier));
  writer.field("input_tokens", answer.usage.input);
  writer.field("output_tokens", answer.usage.output);
  writer.end_object();
  return writer.take() + "\n";
}

std::vector<ChatMessage> opening(const AskOptions& options) {
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) {
    messages.push_back({.role = "system", .content = options.system});
  }
  return messages;
}

}  // namespace

int run(const CommonOptions& common, const AskOptions& options) {
  std::string prompt = options.prompt;
  if (prompt.empty() || (::isatty(STDIN_FILENO) == 0 && prompt == "-")) {
    prompt = read_standard_input();
  }
  if (prompt.find_first_not_of(" \t\r\n") == std::string::npos) {
    return report(Error{.code = ErrorCode::kInvalidArgument,
                        .message = "there is no question",
                        .hint = "genesis run \"Why is the sky blue?\""});
  }
  auto opened = open_session(common, options.model);
  if (!opened) {
    return report(opened.error());
  }
  std::vector<ChatMessage> messages = opening(options);
  messages.push_back({.role = "user", .content = prompt});
  const bool stream = !common.json;
  bool begun = false;
  const auto answer = opened->session->ask(
      make_request(options, opened->route, std::move(messages)), [&](std::string_view text) {
        if (stream) {
          begun = true;
          print_answer(text);
        }
      });
  if (!answer) {
    if (begun) {
      print_out("\n");
    }
    return report(answer.error());
  }
  print_out(stream ? "\n" : answer_json(*answer));
  return kExitOk;
}

int chat(const CommonOptions& common, const AskOptions& options) {
  auto opened = open_session(common, options.model);
  if (!opened) {
    return report(opened.error());
  }
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal) {
    print_note("Ask; an empty line or Ctrl+D ends.");
  }
  std::vector<ChatMessage> messages = opening(options);
  std::string line = options.prompt;
  while (true) {
    if (line.empty()) {
      if (terminal) {
        print_out("> ");
      }
      if (!std::getline(std::cin, line) || line.empty()) {
        return kExitOk;
      }
    }
    messages.push_back({.role = "user", .content = std::exchange(line, "")});
    const auto answer =
        opened->session->ask(make_request(options, opened->route, messages), print_answer);
    print_out("\n");
    if (!answer) {
      return report(answer.error());
    }
    messages.push_back({.role = "assistant", .content = answer->text});
  }
}

}  // namespace genesis::cli
