// One answer: make the prompt, submit its choices, then turn token events into deltas as they come.
//
// The step thread only posts events to the io executor; everything else happens there. The
// coroutine owns the Mailbox and may be dropped at any point: what arrives for it afterwards is
// thrown away.
#include "engine/local_chat.h"

#include "engine/answer_plan.h"
#include "engine/choice_text.h"
#include "engine/grammar_guide.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::engine {

namespace {

struct Letter {
  std::size_t choice = 0;
  GenerateEvent event;
};

// Events on their way to the coroutine; io thread only. Bounded by what the choices may generate.
// The timer is the bell: it rings (is cancelled) when a letter comes, and expires at the deadline.
struct Mailbox {
  explicit Mailbox(const Executor& executor) : bell(executor) {}

  std::deque<Letter> letters;
  boost::asio::steady_timer bell;
  bool client_gone = false;
};

}  // namespace

// The line between this LocalChat's answers and its engine. Closed when the LocalChat goes:
// afterwards neither executor nor engine is touched, although coroutines and listeners may still be
// around.
class LocalChat::Line {
 public:
  Line(Executor executor, Engine& engine) : executor_(std::move(executor)), engine_(engine) {}

  // The step thread.
  void post(const std::weak_ptr<Mailbox>& mailbox, Letter letter) {
    const std::scoped_lock lock(mutex_);
    if (closed_) {
      return;
    }
    boost::asio::post(executor_, [mailbox, letter = std::move(letter)]() mutable {
      if (const auto open = mailbox.lock()) {
        open->letters.push_back(std::move(letter));
        open->bell.cancel();
      }
    });
  }

  // The io thread.
  Result<SequenceId> submit(GenerateRequest request, GenerateListener listener) {
    return engine_.submit(std::move(request), std::move(listener));
  }

  void abort(SequenceId id) {
    const std::scoped_lock lock(mutex_);
    if (!closed_) {
      engine_.abort(id);
    }
  }

  void close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }

 private:
  std::mutex mutex_;
  bool closed_ = false;
  const Executor executor_;
  Engine& engine_;
};

// The sequences of one answer. Whatever way the answer ends, those still generating are aborted.
class LocalChat::Submission {
 public:
  Submission(std::shared_ptr<Line> line, std::weak_ptr<Mailbox> mailbox)
      : line_(std::move(line)), mailbox_(std::move(mailbox)) {}

  Submission(const Submission&) = delete;
  Submission& operator=(const Submission&) = delete;

  ~Submission() { abort_all(); }

  Result<void> submit(GenerateRequest request) {
    const std::size_t choice = ids_.size();
    GENESIS_TRY(const SequenceId id,
                line_->submit(std::move(request),
                              [line = line_, mailbox = mailbox_, choice](GenerateEvent&& event) {
                                line->post(mailbox, {.choice = choice, .event = std::move(event)});
                              }));
    ids_.push_back(id);
    return {};
  }

  // Aborting what has ended is nothing.
  void abort(std::size_t choice) { line_->abort(ids_[choice]); }

  void abort_all() {
    for (const SequenceId id : ids_) {
      line_->abort(id);
    }
  }

 private:
  std::shared_ptr<Line> line_;
  std::weak_ptr<Mailbox> mailbox_;
  std::vector<SequenceId> ids_;
};

namespace {

// What the choices of one answer have in common.
struct Assignment {
  const ChatRequest& request;
  const std::shared_ptr<const text::Tokenizer>& tokenizer;
  const std::vector<std::int32_t>& prompt;
  AdapterUse adapter;
  GrammarStore::Start form;  // null: any text
};

GenerateRequest generate_request(const Assignment& assignment, std::size_t choice) {
  const ChatRequest& request = assignment.request;
  GenerateRequest generate;
  generate.prompt = assignment.prompt;
  generate.sampling = request.sampling;
  // TGI tells each token's logprob in every stream event, asked or not.
  generate.sampling.want_logprobs |= request.dialect == Dialect::kTgi;
  const auto ends = assignment.tokenizer->end_ids();
  generate.end_ids.assign(ends.begin(), ends.end());
  generate.choice = static_cast<std::uint32_t>(choice);
  generate.adapter = assignment.adapter;
  if (assignment.form) {
    generate.make_guide = [start = assignment.form,
                           tokenizer = assignment.tokenizer,
                           ends = request.sampling.ignore_eos ? std::vector<std::int32_t>{}
                                                              : generate.end_ids] {
      return std::make_unique<GrammarGuide>(*start, tokenizer, ends);
    };
  }
  generate.cache_salt = request.tenant;
  generate.request_id = request.id;
  generate.flow = request.tenant + '/' + request.caller.agent;
  generate.priority = request.caller.priority;
  return generate;
}

// A prompt's length is about the field the client filled in.
Error name_field(Error error, Dialect dialect) {
  if (error.param == "prompt") {
    error.param = is_chat(dialect) ? "messages" : dialect == Dialect::kTgi ? "inputs" : "prompt";
  }
  return error;
}

// This engine reads text in OpenAI's shape; another endpoint may read more.
Result<void> check_readable(const ChatInput& input) {
  if (!input.native_only.empty()) {
    return fail_param(input.native_only,
                      fmt::format("'{}' is not supported by this engine", input.native_only),
                      ErrorCode::kUnsupported);
  }
  for (std::size_t i = 0; i < input.messages.size(); ++i) {
    if (!input.messages[i].parts_json.empty()) {
      return fail_param(
          fmt::format("messages[{}].content", i),
          "this model reads text only: images, audio and files need an endpoint that takes them",
          ErrorCode::kUnsupported);
    }
  }
  return {};
}

std::unexpected<Error> unknown_model(std::string_view asked, std::string_view served) {
  auto error = fail_param(
      "model", fmt::format("the model '{}' is not served here", asked), ErrorCode::kNotFound);
  error.error().hint = fmt::format(
      "this engine serves '{}'; POST /v1/load_lora_adapter adds an adapter to it", served);
  return error;
}

std::unexpected<Error> client_gone() {
  return fail(ErrorCode::kCancelled, "the client has gone");
}

// Waits until a letter is there. Errors: kCancelled, kTimeout.
Task<Result<Letter>> next_letter(Mailbox& mailbox, SteadyTime deadline) {
  while (true) {
    if (mailbox.client_gone) {
      co_return client_gone();
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      co_return fail(ErrorCode::kTimeout, "the time for this request ran out while generating");
    }
    if (!mailbox.letters.empty()) {
      Letter letter = std::move(mailbox.letters.front());
      mailbox.letters.pop_front();
      co_return letter;
    }
    mailbox.bell.expires_at(deadline);
    co_await mailbox.bell.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

}  // namespace

LocalChat::LocalChat(Executor executor,
                     Engine& engine,
                     TextAssets assets,
                     ServedBy served,
                     const AdapterBook* adapters)
    : executor_(executor),
      line_(std::make_shared<Line>(std::move(executor), engine)),
      assets_(std::move(assets)),
      voice_(voice_of(assets_)),
      grammars_(assets_.tokenizer),
      served_(std::move(served)),
      adapters_(adapters) {}

LocalChat::~LocalChat() {
  line_->close();
}

Result<std::int64_t> LocalChat::count_tokens(const ChatRequest& request) const {
  GENESIS_TRY(const AnswerPlan plan, plan_answer(request, assets_, voice_));
  return std::ssize(plan.prompt.tokens);
}

Task<Result<Usage>> LocalChat::chat(const ChatRequest& request, ChatSink& sink) {
  if (is_embed(request.dialect)) {
    co_return fail_param("model",
                         "this endpoint serves a chat model, which makes no embeddings or scores",
                         ErrorCode::kUnsupported);
  }
  if (request.n < 1) {
    co_return fail_param("n", "'n' must be at least 1");
  }
  GENESIS_CO_TRY_VOID(check_readable(*request.input));
  const AdapterBook::Entry* adapter = adapters_ ? adapters_->find(request.route) : nullptr;
  if (adapters_ && adapter == nullptr && request.route != served_.model) {
    co_return unknown_model(request.route, served_.model);
  }
  ServedBy served = served_;
  served.model = adapter ? adapter->name : served_.model;
  const CancelToken cancel = sink.cancel_token();
  if (cancel.cancelled()) {
    co_return client_gone();
  }
  GENESIS_CO_TRY(const AnswerPlan plan, plan_answer(request, assets_, voice_));
  const ChatPrompt& prompt = plan.prompt;
  Assignment assignment{.request = request,
                        .tokenizer = assets_.tokenizer,
                        .prompt = prompt.tokens,
                        .adapter = adapter ? use_of(adapter->info, prompt.tokens) : AdapterUse{},
                        .form = nullptr};
  if (plan.form) {
    auto form = co_await grammars_.start(plan.form_name, plan.form);
    if (!form) {
      co_return std::unexpected(form_error(std::move(form).error(), request));
    }
    if (cancel.cancelled()) {
      co_return client_gone();
    }
    assignment.form = *std::move(form);
  }

  const auto mailbox = std::make_shared<Mailbox>(executor_);
  Submission submission(line_, mailbox);
  std::vector<ChoiceText> choices;
  for (std::size_t i = 0; std::cmp_less(i, request.n); ++i) {
    if (auto submitted = submission.submit(generate_request(assignment, i)); !submitted) {
      co_return std::unexpected(name_field(std::move(submitted).error(), request.dialect));
    }
    choices.emplace_back(
        assets_.tokenizer,
        request.sampling,
        ChoiceText::Options{
            .index = static_cast<int>(i), .echo = prompt.echo, .parts = plan.parts});
  }
  const CancelHook on_cancel = cancel.on_cancel([mailbox, &submission] {
    mailbox->client_gone = true;
    submission.abort_all();
    mailbox->bell.cancel();
  });

  Usage usage;
  usage.input = static_cast<std::int64_t>(prompt.tokens.size());
  bool begun = false;
  for (std::size_t open = choices.size(); open > 0;) {
    GENESIS_CO_TRY(Letter letter, co_await next_letter(*mailbox, request.deadline));
    ChoiceText& choice = choices[letter.choice];
    if (choice.finished()) {
      continue;  // sent by the engine before it heard of the stop string
    }
    if (letter.event.error) {
      co_return std::unexpected(*std::move(letter.event.error));
    }
    if (!std::exchange(begun, true)) {
      // Only now: until the first token is there, another endpoint may still take over for free.
      GENESIS_CO_TRY_VOID(co_await sink.begin(served));
    }
    usage.cached_input = std::max(usage.cached_input, letter.event.cached_tokens);
    usage.output += letter.event.token.id >= 0 ? 1 : 0;
    const ChatDelta delta = choice.accept(std::move(letter.event));
    if (choice.finished()) {
      submission.abort(letter.choice);
      usage.reasoning += choice.reasoning_tokens();
      --open;
    }
    GENESIS_CO_TRY_VOID(co_await sink.write(delta));
  }
  co_return usage;
}

}  // namespace genesis::engine
