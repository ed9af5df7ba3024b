#include "text/finder.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

namespace genesis::text {

Result<Finder> Finder::for_regex(std::string_view pattern,
                                 const std::shared_ptr<const CharTable>& table) {
  if (auto fast = GptSplit::for_pattern(pattern, table)) {
    return Finder(std::move(*fast));
  }
  GENESIS_TRY(Regex regex, Regex::compile(pattern));
  return Finder(std::move(regex));
}

Result<Finder> Finder::parse(const boost::json::object& component,
                             const std::shared_ptr<const CharTable>& table,
                             std::string_view param) {
  const boost::json::value* pattern = component.if_contains("pattern");
  if (pattern == nullptr || !pattern->is_object()) {
    return fail_param(std::string(param), "a 'pattern' object is missing", ErrorCode::kUnsupported);
  }
  const std::string prefix = fmt::format("{}.pattern.", param);
  GENESIS_TRY(const auto regex, get_string(pattern->get_object(), "Regex", prefix));
  GENESIS_TRY(const auto text, get_string(pattern->get_object(), "String", prefix));
  if (regex) {
    return for_regex(*regex, table);
  }
  if (!text || text->empty()) {
    return fail_param(std::string(param),
                      "needs a 'Regex' or a non-empty 'String' pattern",
                      ErrorCode::kUnsupported);
  }
  return for_text(*text);
}

std::shared_ptr<Regex::Workspace> Finder::workspace() const {
  const auto* regex = std::get_if<Regex>(&how_);
  return regex != nullptr ? regex->workspace() : nullptr;
}

bool Finder::find_all(std::string_view text,
                      const std::shared_ptr<Regex::Workspace>& workspace,
                      std::vector<Match>& out) const {
  const auto* regex = std::get_if<Regex>(&how_);
  return regex != nullptr && workspace ? regex->find_all(text, *workspace, out)
                                       : find_all(text, out);
}

bool Finder::find_all(std::string_view text, std::vector<Match>& out) const {
  if (const auto* regex = std::get_if<Regex>(&how_)) {
    return regex->find_all(text, out);
  }
  if (const auto* fast = std::get_if<GptSplit>(&how_)) {
    fast->find_all(text, out);
    return true;
  }
  const std::string& needle = std::get<std::string>(how_);
  for (std::size_t at = text.find(needle); at != std::string_view::npos;
       at = text.find(needle, at + needle.size())) {
    out.push_back({at, at + needle.size()});
  }
  return true;
}

}  // namespace genesis::text
