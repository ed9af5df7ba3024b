#include "text/grammar/utf8_automaton.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace genesis::text::grammar {

namespace {

using Ranges = std::vector<std::pair<char32_t, char32_t>>;

// Builds the smallest deterministic automaton: equal sets of possible rests are one node.
class Utf8Builder {
 public:
  explicit Utf8Builder(ExprPool& pool) : pool_(pool) {}

  Expr build(const std::vector<CodePointRange>& ranges) {
    // Lead bytes and how many code points each of them heads: RFC 3629, section 3.
    lead(ranges, {.first_lead = 0x00, .first_value = 0x0, .last_value = 0x7F, .rest = 0});
    lead(ranges, {.first_lead = 0xC0, .first_value = 0x0, .last_value = 0x7FF, .rest = 1});
    lead(ranges, {.first_lead = 0xE0, .first_value = 0x0, .last_value = 0xFFFF, .rest = 2});
    lead(ranges, {.first_lead = 0xF0, .first_value = 0x0, .last_value = 0x10FFFF, .rest = 3});
    std::vector<Arc> arcs;
    for (const auto& [ends, set] : sets_) {
      arcs.push_back({ends.first, pool_.bytes(set), ends.second});
    }
    if (arcs.empty()) {
      return pool_.nothing();
    }
    return nodes_ == 2 ? arcs.front().label : pool_.graph(nodes_, std::move(arcs));
  }

 private:
  struct Form {
    unsigned first_lead;
    char32_t first_value;
    char32_t last_value;
    unsigned rest;  // bytes after the lead byte
  };

  static constexpr std::array<char32_t, 4> kFirstOfLength = {0x0, 0x80, 0x800, 0x10000};

  static Ranges cut(const Ranges& ranges, char32_t low, char32_t high) {
    Ranges out;
    for (const auto& [first, last] : ranges) {
      if (first <= high && last >= low) {
        out.emplace_back(std::max(first, low) - low, std::min(last, high) - low);
      }
    }
    return out;
  }

  void lead(const std::vector<CodePointRange>& ranges, const Form& form) {
    Ranges all;
    for (const CodePointRange& range : ranges) {
      const char32_t first = std::max(range.first, kFirstOfLength[form.rest]);
      const char32_t last = std::min(range.last, form.last_value);
      if (first <= last) {
        all.emplace_back(first, last);
      }
    }
    if (!all.empty()) {
      const char32_t width = char32_t{1} << (6 * form.rest);
      const unsigned leads = static_cast<unsigned>(form.last_value / width + 1);
      for (unsigned i = 0; i < leads; ++i) {
        branch(0, form.first_lead + i, form.rest, cut(all, i * width, (i + 1) * width - 1));
      }
    }
  }

  void branch(std::uint32_t from, unsigned byte, unsigned rest, const Ranges& values) {
    if (!values.empty()) {
      sets_[{from, tail(rest, values)}].set(byte);
    }
  }

  // The node from which the last `rest` bytes of exactly these values follow.
  std::uint32_t tail(unsigned rest, const Ranges& values) {
    if (rest == 0) {
      return 1;
    }
    const auto found = tails_.find({rest, values});
    if (found != tails_.end()) {
      return found->second;
    }
    const std::uint32_t node = nodes_++;
    tails_[{rest, values}] = node;
    const char32_t width = char32_t{1} << (6 * (rest - 1));
    for (unsigned i = 0; i < 64; ++i) {
      branch(node, 0x80 + i, rest - 1, cut(values, i * width, (i + 1) * width - 1));
    }
    return node;
  }

  ExprPool& pool_;
  std::uint32_t nodes_ = 2;
  std::map<std::pair<unsigned, Ranges>, std::uint32_t> tails_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, ByteSet> sets_;
};

}  // namespace

Expr utf8_automaton(ExprPool& pool, const std::vector<CodePointRange>& ranges) {
  return Utf8Builder(pool).build(ranges);
}

// Follows the longest beginning of the marker that the text ends with (Knuth, Morris and Pratt), at
// the border between characters; inside a character only its own bytes matter, since a marker that
// is valid UTF-8 can only match whole characters.
Expr ExprPool::text_without(std::string_view marker) {
  if (marker.empty()) {
    return nothing();
  }
  const auto length = marker.size();
  std::vector<std::size_t> fallback(length, 0);
  for (std::size_t i = 1, k = 0; i < length; ++i) {
    while (k > 0 && marker[i] != marker[k]) {
      k = fallback[k - 1];
    }
    k += marker[i] == marker[k] ? 1 : 0;
    fallback[i] = k;
  }
  // A node is (matched bytes, node of the automaton of one character).
  const CodePointRange everything{0, 0x10FFFF};
  const ExprNode one = at(character(std::span(&everything, 1), false));
  const auto node_of = [&](std::size_t matched, std::uint32_t inner) {
    const std::uint32_t at_border = inner == 1 ? 0 : inner;
    return static_cast<std::uint32_t>(2 + matched * one.size + at_border);
  };
  std::map<std::pair<std::uint32_t, std::uint32_t>, ByteSet> sets;
  for (std::size_t matched = 0; matched < length; ++matched) {
    for (const Arc& arc : one.arcs) {
      for (unsigned b = 0; b < 256; ++b) {
        if (!set(at(arc.label).set)[b]) {
          continue;
        }
        std::size_t k = matched;
        while (k > 0 && static_cast<unsigned char>(marker[k]) != b) {
          k = fallback[k - 1];
        }
        k += static_cast<unsigned char>(marker[k]) == b ? 1 : 0;
        if (k < length) {
          sets[{node_of(matched, arc.from), node_of(k, arc.to)}].set(b);
        }
      }
    }
  }
  std::vector<Arc> arcs = {{0, empty(), node_of(0, 0)}};
  for (std::size_t matched = 0; matched < length; ++matched) {
    arcs.push_back({node_of(matched, 0), empty(), 1});
  }
  for (const auto& [ends, set] : sets) {
    arcs.push_back({ends.first, bytes(set), ends.second});
  }
  return graph(static_cast<std::uint32_t>(2 + length * one.size), std::move(arcs));
}

}  // namespace genesis::text::grammar
