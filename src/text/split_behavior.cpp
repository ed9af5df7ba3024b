#include "text/split_behavior.h"

namespace genesis::text {

namespace {

struct Part {
  Match range;
  bool is_match;
};

// Matches and the gaps between them, covering the text.
std::vector<Part> parts_of(std::string_view text, const std::vector<Match>& matches, bool invert) {
  std::vector<Part> parts;
  parts.reserve(matches.size() * 2 + 1);
  std::size_t at = 0;
  for (const Match& match : matches) {
    if (match.begin > at) {
      parts.push_back({{at, match.begin}, invert});
    }
    parts.push_back({match, !invert});
    at = match.end;
  }
  if (at < text.size()) {
    parts.push_back({{at, text.size()}, invert});
  }
  return parts;
}

// Joins each part for which `joins` holds to the one before it.
template <typename Joins>
std::vector<Part> join_to_previous(const std::vector<Part>& parts, Joins joins) {
  std::vector<Part> out;
  out.reserve(parts.size());
  bool previous_match = false;
  for (const Part& part : parts) {
    if (!out.empty() && joins(part.is_match, previous_match)) {
      out.back().range.end = part.range.end;
    } else {
      out.push_back(part);
    }
    previous_match = part.is_match;
  }
  return out;
}

std::vector<Part> join_to_next(const std::vector<Part>& parts) {
  std::vector<Part> backwards;
  backwards.reserve(parts.size());
  bool previous_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!backwards.empty() && part->is_match && !previous_match) {
      backwards.back().range.begin = part->range.begin;
    } else {
      backwards.push_back(*part);
    }
    previous_match = part->is_match;
  }
  return {backwards.rbegin(), backwards.rend()};
}

}  // namespace

void cut(const Piece& piece,
         const std::vector<Match>& matches,
         SplitRule rule,
         std::vector<Piece>& out) {
  if (rule.behavior == SplitBehavior::kIsolated) {  // the common one, without the detour
    std::size_t at = 0;
    for (const Match& match : matches) {
      if (match.begin > at) {
        out.push_back(piece.slice(at, match.begin));
      }
      if (match.end > match.begin) {
        out.push_back(piece.slice(match.begin, match.end));
      }
      at = match.end;
    }
    if (at < piece.text.size()) {
      out.push_back(piece.slice(at, piece.text.size()));
    }
    return;
  }
  std::vector<Part> parts = parts_of(piece.text, matches, rule.invert);
  switch (rule.behavior) {
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.is_match; });
      break;
    case SplitBehavior::kMergedWithPrevious:
      parts = join_to_previous(parts, [](bool match, bool before) { return match && !before; });
      break;
    case SplitBehavior::kMergedWithNext:
      parts = join_to_next(parts);
      break;
    case SplitBehavior::kContiguous:
      parts = join_to_previous(parts, [](bool match, bool before) { return match == before; });
      break;
  }
  for (const Part& part : parts) {
    if (part.range.end > part.range.begin) {
      out.push_back(piece.slice(part.range.begin, part.range.end));
    }
  }
}

}  // namespace genesis::text
