// A compiled PCRE2 pattern with limits on time and memory. Immutable; safe from any thread.
#pragma once

#include "base/result.h"

#include <memory>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace genesis::text {

// A half-open byte range.
struct Match {
  std::size_t begin;
  std::size_t end;
};

class Regex {
 public:
  // `oniguruma` as tokenizer.json writes it; see text/pattern.h.
  static Result<Regex> compile(std::string_view oniguruma);

  // Appends all non-overlapping matches in valid UTF-8 `text`, left to right, as the onig crate's
  // find_iter: no empty match directly after another match. False at the match limit, which only a
  // hostile pattern reaches; the rest of the text then counts as unmatched.
  bool find_all(std::string_view text, std::vector<Match>& out) const;

  // The memory of a match; making it costs more than most matches. For one thread at a time.
  class Workspace;
  std::shared_ptr<Workspace> workspace() const;
  bool find_all(std::string_view text, Workspace& workspace, std::vector<Match>& out) const;

 private:
  explicit Regex(std::shared_ptr<const pcre2_real_code_8> code) : code_(std::move(code)) {}

  std::shared_ptr<const pcre2_real_code_8> code_;
};

}  // namespace genesis::text
