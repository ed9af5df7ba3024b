// The pattern of a Split or Replace component, run as fast as it can be.
#pragma once

#include "base/result.h"
#include "text/gpt_split.h"
#include "text/regex.h"
#include "text/unicode.h"

#include <boost/json/fwd.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace genesis::text {

// Immutable; safe from any thread.
class Finder {
 public:
  static Result<Finder> for_regex(std::string_view pattern,
                                  const std::shared_ptr<const CharTable>& table);

  // `text` must not be empty.
  static Finder for_text(std::string text) { return Finder(std::move(text)); }

  // The "pattern" member of a component: {"Regex": ..} or {"String": ..}. Errors name `param`.
  static Result<Finder> parse(const boost::json::object& component,
                              const std::shared_ptr<const CharTable>& table,
                              std::string_view param);

  // Appends the matches; false when a hostile pattern ran into its limit.
  bool find_all(std::string_view text, std::vector<Match>& out) const;

  // For many texts in a row, from one thread: what they need is made once. Null if nothing is.
  std::shared_ptr<Regex::Workspace> workspace() const;
  bool find_all(std::string_view text,
                const std::shared_ptr<Regex::Workspace>& workspace,
                std::vector<Match>& out) const;

  // The text looked for, or null if it is a pattern.
  const std::string* plain() const { return std::get_if<std::string>(&how_); }

 private:
  using How = std::variant<GptSplit, Regex, std::string>;

  explicit Finder(How how) : how_(std::move(how)) {}

  How how_;
};

}  // namespace genesis::text
