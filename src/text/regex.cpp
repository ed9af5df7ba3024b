#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"
#include "text/unicode.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <array>

namespace genesis::text {

namespace {

// Per match attempt; ordinary split patterns need a few steps per character of one word.
constexpr std::uint32_t kMatchLimit = 1'000'000;
constexpr std::uint32_t kDepthLimit = 100'000;
constexpr std::uint32_t kHeapLimitKiB = 64 * 1024;
constexpr std::size_t kJitStackStart = 32 * 1024;
constexpr std::size_t kJitStackMost = 16 * 1024 * 1024;

template <auto free_function>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    free_function(pointer);
  }
};

using MatchData = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack_free>>;

// PCRE2's own type for text; char and unsigned char may alias.
PCRE2_SPTR subject(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

Result<Regex> Regex::compile(std::string_view oniguruma) {
  GENESIS_TRY(const std::string pattern, translate_pattern(oniguruma));
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(
      subject(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  if (code == nullptr) {
    std::array<PCRE2_UCHAR, 256> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    return fail(ErrorCode::kUnsupported,
                fmt::format("regular expression '{}': {}",
                            oniguruma.substr(0, 200),
                            reinterpret_cast<const char*>(message.data())));
  }
  std::shared_ptr<const pcre2_code> owned(
      code, [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); });
  // Without JIT (not built in, or no executable memory) matching falls back to the interpreter.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return Regex(std::move(owned));
}

class Regex::Workspace {
 public:
  explicit Workspace(const pcre2_code* code)
      : data_(pcre2_match_data_create_from_pattern(code, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(kJitStackStart, kJitStackMost, nullptr)) {
    if (usable()) {
      pcre2_set_match_limit(context_.get(), kMatchLimit);
      pcre2_set_depth_limit(context_.get(), kDepthLimit);
      pcre2_set_heap_limit(context_.get(), kHeapLimitKiB);
      pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
    }
  }

  bool usable() const { return data_ && context_ && stack_; }

  pcre2_match_data* data() const { return data_.get(); }

  pcre2_match_context* context() const { return context_.get(); }

 private:
  MatchData data_;
  MatchContext context_;
  JitStack stack_;
};

std::shared_ptr<Regex::Workspace> Regex::workspace() const {
  return std::make_shared<Workspace>(code_.get());
}

bool Regex::find_all(std::string_view text, std::vector<Match>& out) const {
  Workspace workspace(code_.get());
  return find_all(text, workspace, out);
}

bool Regex::find_all(std::string_view text, Workspace& workspace, std::vector<Match>& out) const {
  if (!workspace.usable()) {
    return false;
  }
  std::size_t at = 0;
  std::size_t last_end = static_cast<std::size_t>(-1);
  while (at <= text.size()) {
    const int rc = pcre2_match(code_.get(),
                               subject(text),
                               text.size(),
                               at,
                               PCRE2_NO_UTF_CHECK,
                               workspace.data(),
                               workspace.context());
    if (rc < 0) {
      return rc == PCRE2_ERROR_NOMATCH;
    }
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(workspace.data());
    const Match match{found[0], found[1]};
    const bool empty = match.end <= match.begin;
    if (!empty || match.begin != last_end) {
      out.push_back(match);
    }
    last_end = match.end;
    at = match.end;
    if (empty) {
      at += at < text.size() ? decode_valid(text, at).bytes : 1;
    }
  }
  return true;
}

}  // namespace genesis::text
