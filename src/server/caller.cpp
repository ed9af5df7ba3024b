#include "server/caller.h"

#include "base/sha256.h"
#include "server/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace genesis::server {

namespace {

// A value of anthropic-beta lists features; twenty of them fit.
constexpr std::size_t kMaxNativeHeader = 1024;
// Enough of a digest that two sessions never meet.
constexpr std::size_t kDigestLetters = 32;

bool is_plain(std::string_view word) {
  constexpr std::string_view kMarks = "._:/@+-";
  return word.size() <= kMaxCallerWord && std::ranges::all_of(word, [&](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  kMarks.contains(c);
         });
}

Result<std::string> own_word(const net::Headers& headers, std::string_view name) {
  const std::string_view word = headers.get(name).value_or("");
  if (!is_plain(word)) {
    return fail_param(std::string(name),
                      fmt::format("header '{}' must be a word of at most {} letters, digits and "
                                  "._:/@+-",
                                  name,
                                  kMaxCallerWord));
  }
  return std::string(word);
}

Result<Priority> read_priority(const net::Headers& headers) {
  const std::string_view word = headers.get(kPriorityHeader).value_or("");
  const auto priority = word.empty() ? Priority::kNormal : priority_from_name(word);
  if (!priority) {
    return fail_param(std::string(kPriorityHeader),
                      "header 'x-genesis-priority' must be high, normal or low");
  }
  return *priority;
}

std::string session_word(std::string_view told) {
  return is_plain(told) ? std::string(told)
                        : "sha256-" + to_hex(sha256(told)).substr(0, kDigestLetters);
}

}  // namespace

Result<Caller> read_caller(const net::Headers& headers, std::string_view session_hint) {
  Caller caller;
  GENESIS_TRY(caller.agent, own_word(headers, kAgentHeader));
  GENESIS_TRY(caller.task, own_word(headers, "x-genesis-task"));
  GENESIS_TRY(caller.session, own_word(headers, "x-genesis-session"));
  GENESIS_TRY(caller.priority, read_priority(headers));
  if (caller.session.empty()) {
    const std::string_view told =
        session_hint.empty() ? headers.get("x-session-id").value_or("") : session_hint;
    caller.session = session_word(told);
  }
  return caller;
}

std::vector<std::pair<std::string, std::string>> read_native_headers(const net::Headers& headers,
                                                                     Dialect dialect) {
  constexpr std::array<std::string_view, 2> kAnthropic{"anthropic-version", "anthropic-beta"};
  constexpr std::array<std::string_view, 1> kOpenAi{"openai-beta"};
  std::vector<std::pair<std::string, std::string>> found;
  const auto keep = [&](std::string_view name) {
    std::string joined;
    for (const auto& [key, value] : headers.all()) {
      if (net::equal_names(key, name)) {
        joined += (joined.empty() ? "" : ",") + value;
      }
    }
    if (!joined.empty() && joined.size() <= kMaxNativeHeader && header_safe(joined) == joined) {
      found.emplace_back(name, joined);
    }
  };
  if (dialect == Dialect::kAnthropic) {
    std::ranges::for_each(kAnthropic, keep);
  } else if (dialect != Dialect::kTgi && dialect != Dialect::kTei) {
    std::ranges::for_each(kOpenAi, keep);
  }
  return found;
}

}  // namespace genesis::server
