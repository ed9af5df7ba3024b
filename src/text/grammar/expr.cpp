#include "text/grammar/expr.h"

#include "text/grammar/utf8_automaton.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text::grammar {

namespace {

constexpr char32_t kLastCodePoint = 0x10FFFF;
constexpr char32_t kFirstSurrogate = 0xD800;
constexpr char32_t kLastSurrogate = 0xDFFF;

std::vector<CodePointRange> merged(std::vector<CodePointRange> ranges) {
  std::erase_if(ranges, [](const CodePointRange& r) { return r.first > r.last; });
  std::ranges::sort(ranges, {}, &CodePointRange::first);
  std::vector<CodePointRange> out;
  for (const CodePointRange& range : ranges) {
    if (!out.empty() && range.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, range.last);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

}  // namespace

std::vector<CodePointRange> normal_ranges(std::span<const CodePointRange> ranges, bool negated) {
  std::vector<CodePointRange> within;
  for (const CodePointRange& range : ranges) {
    within.push_back({range.first, std::min(range.last, kLastCodePoint)});
  }
  if (negated) {
    within.push_back({kFirstSurrogate, kLastSurrogate});
    std::vector<CodePointRange> rest;
    char32_t next = 0;
    for (const CodePointRange& range : merged(std::move(within))) {
      if (range.first > next) {
        rest.push_back({next, range.first - 1});
      }
      next = range.last + 1;
    }
    if (next <= kLastCodePoint) {
      rest.push_back({next, kLastCodePoint});
    }
    return rest;
  }
  std::vector<CodePointRange> out;
  for (const CodePointRange& range : merged(std::move(within))) {
    if (range.last < kFirstSurrogate || range.first > kLastSurrogate) {
      out.push_back(range);
      continue;
    }
    if (range.first < kFirstSurrogate) {
      out.push_back({range.first, kFirstSurrogate - 1});
    }
    if (range.last > kLastSurrogate) {
      out.push_back({kLastSurrogate + 1, range.last});
    }
  }
  return out;
}

ExprPool::ExprPool(const GrammarLimits& limits) : limits_(limits) {
  add({});
  ExprNode empty;
  empty.kind = ExprNode::Kind::kLiteral;
  add(std::move(empty));
}

Expr ExprPool::add(ExprNode node) {
  nodes_.push_back(std::move(node));
  return static_cast<Expr>(nodes_.size() - 1);
}

Result<void> ExprPool::check_size() const {
  if (nodes_.size() > limits_.nodes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the grammar needs more than {} expressions", limits_.nodes),
                "use a smaller schema or pattern");
  }
  return {};
}

Expr ExprPool::literal(std::string_view bytes) {
  if (bytes.empty()) {
    return empty();
  }
  ExprNode node;
  node.kind = ExprNode::Kind::kLiteral;
  node.text = bytes;
  return add(std::move(node));
}

Expr ExprPool::bytes(const ByteSet& set) {
  if (set.none()) {
    return nothing();
  }
  ExprNode node;
  node.kind = ExprNode::Kind::kBytes;
  const auto [found, fresh] = set_index_.try_emplace(set, static_cast<std::uint32_t>(sets_.size()));
  if (fresh) {
    sets_.push_back(set);
  }
  node.set = found->second;
  return add(std::move(node));
}

Expr ExprPool::byte_range(unsigned first, unsigned last) {
  ByteSet set;
  for (unsigned b = first; b <= last; ++b) {
    set.set(b);
  }
  return bytes(set);
}

Expr ExprPool::character(std::span<const CodePointRange> ranges, bool negated) {
  return utf8_automaton(*this, normal_ranges(ranges, negated));
}

Expr ExprPool::sequence(std::vector<Expr> parts) {
  std::erase(parts, empty());
  if (parts.empty()) {
    return empty();
  }
  if (contains(parts, nothing())) {
    return nothing();
  }
  if (parts.size() == 1) {
    return parts.front();
  }
  ExprNode node;
  node.kind = ExprNode::Kind::kSequence;
  node.parts = std::move(parts);
  return add(std::move(node));
}

Expr ExprPool::choice(std::vector<Expr> parts) {
  std::erase(parts, nothing());
  if (parts.empty()) {
    return nothing();
  }
  if (parts.size() == 1) {
    return parts.front();
  }
  ExprNode node;
  node.kind = ExprNode::Kind::kChoice;
  node.parts = std::move(parts);
  return add(std::move(node));
}

Expr ExprPool::repeat(Expr part, std::size_t least, std::optional<std::size_t> most) {
  if (most && *most < least) {
    return nothing();
  }
  if ((most && *most == 0) || part == empty() || (part == nothing() && least == 0)) {
    return empty();
  }
  if (part == nothing() || (least == 1 && most == std::optional<std::size_t>(1))) {
    return part;
  }
  ExprNode node;
  node.kind = ExprNode::Kind::kRepeat;
  node.least = least;
  node.most = most;
  node.parts = {part};
  return add(std::move(node));
}

Expr ExprPool::special(std::string_view content) {
  ExprNode node;
  node.kind = ExprNode::Kind::kSpecial;
  node.text = content;
  return add(std::move(node));
}

Expr ExprPool::graph(std::uint32_t size, std::vector<Arc> arcs) {
  ExprNode node;
  node.kind = ExprNode::Kind::kGraph;
  node.size = size;
  node.arcs = std::move(arcs);
  return add(std::move(node));
}

Expr ExprPool::new_rule() {
  ExprNode node;
  node.kind = ExprNode::Kind::kRule;
  node.set = static_cast<std::uint32_t>(rules_.size());
  rules_.push_back(kUndefinedRule);
  return add(std::move(node));
}

Expr ExprPool::well_known(std::string_view name, Expr body) {
  const Expr rule = new_rule();
  nodes_.back().text = name;
  define(rule, body);
  return rule;
}

void ExprPool::define(Expr rule, Expr body) {
  rules_[at(rule).set] = body;
}

}  // namespace genesis::text::grammar
