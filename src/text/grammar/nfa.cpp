#include "text/grammar/nfa.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <utility>

namespace genesis::text::grammar {

namespace {

using Kind = ExprNode::Kind;

// An expression used more than once and at least so large becomes a rule of its own; smaller ones
// are cheaper to copy than to call.
constexpr std::size_t kSharedSize = 12;

Error too_large(const GrammarLimits& limits) {
  return fail(
             ErrorCode::kInvalidArgument,
             fmt::format("the grammar needs more than {} states", limits.nodes),
             "use smaller repetition counts (minLength, maxLength, minItems, maxItems, {m,n}) or a "
             "smaller schema")
      .error();
}

class Compiler {
 public:
  Compiler(const ExprPool& pool, Calls calls)
      : pool_(pool), calls_(calls), uses_(pool.size(), 0), sizes_(pool.size(), 0) {}

  Result<Nfa> run(Expr root) {
    if (calls_ == Calls::kAllowed) {
      GENESIS_TRY_VOID(count_uses(root));
    }
    rule_of_expr(root);
    while (next_rule_ < bodies_.size()) {
      const std::size_t rule = next_rule_++;
      const Nfa::Rule ends = nfa_.rules[rule];
      // The body of a shared expression is not a call of itself.
      emitting_ = bodies_[rule];
      const auto first = static_cast<std::uint32_t>(out_.size());
      GENESIS_TRY_VOID(emit(bodies_[rule], ends.start, ends.end));
      nfa_.rules[rule].first = first;
      nfa_.rules[rule].last = static_cast<std::uint32_t>(out_.size());
    }
    finish();
    return std::move(nfa_);
  }

 private:
  std::uint32_t new_state() {
    out_.emplace_back();
    return static_cast<std::uint32_t>(out_.size() - 1);
  }

  void edge(std::uint32_t from, Edge::Kind kind, std::uint32_t label, std::uint32_t to) {
    out_[from].push_back({kind, label, to});
    ++edges_;
  }

  void skip(std::uint32_t from, std::uint32_t to) { edge(from, Edge::Kind::kEmpty, 0, to); }

  // Children before parents would be natural, but expressions may be as deep as a client likes:
  // an explicit stack instead of recursion.
  Result<void> count_uses(Expr root) {
    std::vector<std::pair<Expr, bool>> work = {{root, false}};
    std::vector<bool> seen(pool_.size(), false);
    while (!work.empty()) {
      const auto [expr, children_done] = work.back();
      work.pop_back();
      const auto index = static_cast<std::size_t>(expr);
      if (children_done) {
        sizes_[index] = size_of(expr);
        continue;
      }
      const ExprNode& node = pool_.at(expr);
      const bool several = node.kind == Kind::kRepeat && node.most.value_or(2) > 1;
      if (seen[index]) {
        continue;
      }
      seen[index] = true;
      work.emplace_back(expr, true);
      const auto visit = [&](Expr child, std::uint32_t times) {
        uses_[static_cast<std::size_t>(child)] += times;
        work.emplace_back(child, false);
      };
      for (const Expr part : node.parts) {
        visit(part, several && (node.least > 1 || node.most) ? 2 : 1);
      }
      for (const Arc& arc : node.arcs) {
        visit(arc.label, 1);
      }
      if (node.kind == Kind::kRule) {
        const Expr body = pool_.rule_body(node.set);
        if (body == kUndefinedRule) {
          return fail(ErrorCode::kInvalidArgument, "a rule is used but not defined");
        }
        visit(body, 1);
      }
    }
    return {};
  }

  std::size_t size_of(Expr expr) const {
    const ExprNode& node = pool_.at(expr);
    std::size_t size = 1;
    const auto child = [&](Expr part) { return sizes_[static_cast<std::size_t>(part)]; };
    switch (node.kind) {
      case Kind::kLiteral:
        return node.text.size();
      case Kind::kSequence:
      case Kind::kChoice:
      case Kind::kRepeat:
        for (const Expr part : node.parts) {
          size += child(part);
        }
        return std::min<std::size_t>(size, kUnreachable);
      case Kind::kGraph:
        size = node.size;
        for (const Arc& arc : node.arcs) {
          size += child(arc.label);
        }
        return std::min<std::size_t>(size, kUnreachable);
      default:
        return 1;
    }
  }

  bool shared(Expr expr) const {
    const auto index = static_cast<std::size_t>(expr);
    return calls_ == Calls::kAllowed && uses_[index] > 1 && sizes_[index] >= kSharedSize;
  }

  std::uint32_t rule_of_expr(Expr expr) {
    const auto [found, fresh] =
        rule_index_.try_emplace(expr, static_cast<std::uint32_t>(bodies_.size()));
    if (fresh) {
      bodies_.push_back(expr);
      const std::uint32_t start = new_state();
      nfa_.rules.push_back({.start = start, .end = new_state()});
    }
    return found->second;
  }

  std::uint32_t set_index(const ByteSet& set) {
    const auto [found, fresh] =
        sets_.try_emplace(set, static_cast<std::uint32_t>(nfa_.sets.size()));
    if (fresh) {
      nfa_.sets.push_back(set);
    }
    return found->second;
  }

  // Adds edges out of `from` and into `to` only: siblings may share both.
  Result<void> emit(Expr expr, std::uint32_t from, std::uint32_t to) {
    if (out_.size() > pool_.limits().nodes || edges_ > 4 * pool_.limits().nodes) {
      return std::unexpected(too_large(pool_.limits()));
    }
    if (shared(expr) && expr != std::exchange(emitting_, kUndefinedRule)) {
      edge(from, Edge::Kind::kCall, rule_of_expr(expr), to);
      return {};
    }
    emitting_ = kUndefinedRule;
    const ExprNode& node = pool_.at(expr);
    switch (node.kind) {
      case Kind::kNothing:
        return {};
      case Kind::kBytes:
        edge(from, Edge::Kind::kBytes, set_index(pool_.set(node.set)), to);
        return {};
      case Kind::kLiteral:
        emit_literal(node.text, from, to);
        return {};
      case Kind::kSequence:
        return emit_sequence(node, from, to);
      case Kind::kChoice:
        for (const Expr part : node.parts) {
          GENESIS_TRY_VOID(emit(part, from, to));
        }
        return {};
      case Kind::kRepeat:
        return emit_repeat(node, from, to);
      case Kind::kSpecial:
        edge(from, Edge::Kind::kSpecial, special_index(node.text), to);
        return {};
      case Kind::kRule:
        return emit_rule(node, from, to);
      case Kind::kGraph:
        return emit_graph(node, from, to);
    }
    return {};
  }

  Result<void> emit_rule(const ExprNode& node, std::uint32_t from, std::uint32_t to) {
    if (calls_ == Calls::kNone) {
      return fail(ErrorCode::kUnsupported, "a recursive rule where a regular language is needed");
    }
    const std::uint32_t rule = rule_of_expr(pool_.rule_body(node.set));
    nfa_.rules[rule].name = node.text;
    edge(from, Edge::Kind::kCall, rule, to);
    return {};
  }

  void emit_literal(std::string_view text, std::uint32_t from, std::uint32_t to) {
    if (text.empty()) {
      skip(from, to);
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
      const std::uint32_t next = i + 1 == text.size() ? to : new_state();
      ByteSet set;
      set.set(static_cast<unsigned char>(text[i]));
      edge(from, Edge::Kind::kBytes, set_index(set), next);
      from = next;
    }
  }

  Result<void> emit_sequence(const ExprNode& node, std::uint32_t from, std::uint32_t to) {
    for (std::size_t i = 0; i < node.parts.size(); ++i) {
      const std::uint32_t next = i + 1 == node.parts.size() ? to : new_state();
      GENESIS_TRY_VOID(emit(node.parts[i], from, next));
      from = next;
    }
    return {};
  }

  Result<void> emit_repeat(const ExprNode& node, std::uint32_t from, std::uint32_t to) {
    const Expr part = node.parts.front();
    // An unlimited repeat loops on its last copy, or on a state of its own if it needs none.
    const std::size_t straight = node.most ? node.least : std::max<std::size_t>(node.least, 1) - 1;
    for (std::size_t i = 0; i < straight; ++i) {
      const std::uint32_t next = node.most && i + 1 == *node.most ? to : new_state();
      GENESIS_TRY_VOID(emit(part, from, next));
      from = next;
    }
    if (!node.most) {
      const std::uint32_t begin = new_state();
      skip(from, begin);
      if (node.least == 0) {
        skip(begin, to);
        return emit(part, begin, begin);
      }
      const std::uint32_t end = new_state();
      skip(end, begin);
      skip(end, to);
      return emit(part, begin, end);
    }
    for (std::size_t i = straight; i < *node.most; ++i) {
      skip(from, to);
      const std::uint32_t next = i + 1 == *node.most ? to : new_state();
      GENESIS_TRY_VOID(emit(part, from, next));
      from = next;
    }
    return {};
  }

  Result<void> emit_graph(const ExprNode& node, std::uint32_t from, std::uint32_t to) {
    std::vector<std::uint32_t> states(node.size);
    for (std::uint32_t i = 0; i < node.size; ++i) {
      states[i] = new_state();
    }
    skip(from, states[0]);
    skip(states[1], to);
    for (const Arc& arc : node.arcs) {
      GENESIS_TRY_VOID(emit(arc.label, states[arc.from], states[arc.to]));
    }
    return {};
  }

  std::uint32_t special_index(const std::string& content) {
    const auto found = std::ranges::find(nfa_.specials, content);
    if (found == nfa_.specials.end()) {
      nfa_.specials.push_back(content);
      return static_cast<std::uint32_t>(nfa_.specials.size() - 1);
    }
    return static_cast<std::uint32_t>(found - nfa_.specials.begin());
  }

  void finish() {
    nfa_.is_end.assign(out_.size(), false);
    for (const Nfa::Rule& rule : nfa_.rules) {
      nfa_.is_end[rule.end] = true;
    }
    nfa_.first_edge.reserve(out_.size() + 1);
    nfa_.edges.reserve(edges_);
    for (const auto& edges : out_) {
      nfa_.first_edge.push_back(static_cast<std::uint32_t>(nfa_.edges.size()));
      nfa_.edges.insert(nfa_.edges.end(), edges.begin(), edges.end());
    }
    nfa_.first_edge.push_back(static_cast<std::uint32_t>(nfa_.edges.size()));
  }

  const ExprPool& pool_;
  Calls calls_;
  Nfa nfa_;
  std::vector<std::vector<Edge>> out_;
  std::size_t edges_ = 0;
  std::vector<std::uint32_t> uses_;
  std::vector<std::size_t> sizes_;
  std::map<Expr, std::uint32_t> rule_index_;
  std::vector<Expr> bodies_;
  std::size_t next_rule_ = 0;
  Expr emitting_ = kUndefinedRule;
  std::unordered_map<ByteSet, std::uint32_t> sets_;
};

// Removes edges from which the end of the rule cannot be reached.
void prune(Nfa& nfa, const std::vector<std::uint32_t>& ends) {
  std::vector<Edge> kept;
  kept.reserve(nfa.edges.size());
  std::vector<std::uint32_t> first;
  first.reserve(nfa.first_edge.size());
  for (std::uint32_t state = 0; state < nfa.states(); ++state) {
    first.push_back(static_cast<std::uint32_t>(kept.size()));
    for (const Edge& edge : nfa.out(state)) {
      const bool callable =
          edge.kind != Edge::Kind::kCall || ends[nfa.rules[edge.label].start] < kUnreachable;
      if (callable && ends[edge.to] < kUnreachable) {
        kept.push_back(edge);
      }
    }
  }
  first.push_back(static_cast<std::uint32_t>(kept.size()));
  nfa.edges = std::move(kept);
  nfa.first_edge = std::move(first);
}

void classify_bytes(Nfa& nfa) {
  std::array<std::uint16_t, 256> group{};
  std::uint16_t groups = 1;
  for (const ByteSet& set : nfa.sets) {
    std::map<std::uint16_t, std::uint16_t> split;
    std::array<std::uint16_t, 256> sizes{};
    std::array<std::uint16_t, 256> inside{};
    for (unsigned b = 0; b < 256; ++b) {
      ++sizes[group[b]];
      inside[group[b]] += set[b] ? 1 : 0;
    }
    for (unsigned b = 0; b < 256; ++b) {
      const std::uint16_t old = group[b];
      if (set[b] && inside[old] < sizes[old]) {
        const auto [found, fresh] = split.try_emplace(old, groups);
        groups += fresh ? 1 : 0;
        group[b] = found->second;
      }
    }
  }
  nfa.class_byte.assign(groups, 0);
  for (unsigned b = 0; b < 256; ++b) {
    nfa.class_of[b] = static_cast<std::uint8_t>(group[b]);
    nfa.class_byte[group[b]] = static_cast<std::uint8_t>(b);
  }
}

// Which rules stand at the very beginning of a rule.
class LeftRecursion {
 public:
  explicit LeftRecursion(const Nfa& nfa) : nfa_(nfa), mark_(nfa.states(), 0), seen_at_(0) {}

  // A rule that calls itself before any byte would be called for ever.
  bool found() {
    calls_.resize(nfa_.rules.size());
    for (std::size_t rule = 0; rule < nfa_.rules.size(); ++rule) {
      collect(rule);
    }
    return has_cycle();
  }

 private:
  void collect(std::size_t rule) {
    ++seen_at_;
    std::vector<std::uint32_t> work = {nfa_.rules[rule].start};
    mark_[work.front()] = seen_at_;
    while (!work.empty()) {
      const std::uint32_t state = work.back();
      work.pop_back();
      const auto visit = [&](std::uint32_t next) {
        if (std::exchange(mark_[next], seen_at_) != seen_at_) {
          work.push_back(next);
        }
      };
      for (const Edge& edge : nfa_.out(state)) {
        if (edge.kind == Edge::Kind::kEmpty) {
          visit(edge.to);
        } else if (edge.kind == Edge::Kind::kCall) {
          calls_[rule].push_back(edge.label);
          if (nfa_.rules[edge.label].nullable) {
            visit(edge.to);
          }
        }
      }
    }
  }

  bool has_cycle() {
    // 0 untouched, 1 on the path, 2 done.
    std::vector<std::uint8_t> color(calls_.size(), 0);
    for (std::uint32_t root = 0; root < calls_.size(); ++root) {
      std::vector<std::pair<std::uint32_t, std::size_t>> path;
      if (color[root] == 0) {
        path.emplace_back(root, 0);
        color[root] = 1;
      }
      while (!path.empty()) {
        auto& [rule, next] = path.back();
        if (next == calls_[rule].size()) {
          color[rule] = 2;
          path.pop_back();
          continue;
        }
        const std::uint32_t callee = calls_[rule][next++];
        if (color[callee] == 1) {
          return true;
        }
        if (color[callee] == 0) {
          color[callee] = 1;
          path.emplace_back(callee, 0);
        }
      }
    }
    return false;
  }

  const Nfa& nfa_;
  std::vector<std::uint32_t> mark_;
  std::uint32_t seen_at_;
  std::vector<std::vector<std::uint32_t>> calls_;
};

}  // namespace

std::string well_known_place(const Nfa& nfa, std::span<const std::uint32_t> states) {
  for (const Nfa::Rule& rule : nfa.rules) {
    std::string place = rule.name;
    for (const std::uint32_t state : states) {
      if (rule.name.empty()) {
        break;
      }
      if (state == rule.start || state == rule.end) {
        place += state == rule.start ? " start" : " end";
      } else if (state >= rule.first && state < rule.last) {
        place += fmt::format(" {}", state - rule.first);
      } else {
        place.clear();
        break;
      }
    }
    if (!place.empty()) {
      return place;
    }
  }
  return {};
}

// Dijkstra's algorithm backwards from the ends, where a call edge opens once its rule's own cost is
// known (Knuth 1977, "A generalization of Dijkstra's algorithm").
ShortestEnds shortest_ends(const Nfa& nfa) {
  struct Back {
    std::uint32_t from;
    std::uint32_t edge;
  };

  std::vector<std::vector<Back>> into(nfa.states());
  std::vector<std::vector<Back>> callers(nfa.rules.size());
  for (std::uint32_t state = 0; state < nfa.states(); ++state) {
    for (std::uint32_t i = nfa.first_edge[state]; i < nfa.first_edge[state + 1]; ++i) {
      into[nfa.edges[i].to].push_back({state, i});
      if (nfa.edges[i].kind == Edge::Kind::kCall) {
        callers[nfa.edges[i].label].push_back({state, i});
      }
    }
  }
  std::vector<std::uint32_t> rule_at(nfa.states(), kUnreachable);
  for (std::uint32_t rule = 0; rule < nfa.rules.size(); ++rule) {
    rule_at[nfa.rules[rule].start] = rule;
  }
  ShortestEnds found;
  found.edge.assign(nfa.states(), kNoEdge);
  std::vector<std::uint32_t>& cost = found.cost;
  cost.assign(nfa.states(), kUnreachable);
  using Item = std::pair<std::uint32_t, std::uint32_t>;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> queue;
  std::vector<bool> done(nfa.states(), false);
  const auto relax = [&](std::uint32_t state, std::uint64_t value, std::uint32_t edge) {
    const auto capped =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(value, kUnreachable - 1));
    if (capped < cost[state]) {
      cost[state] = capped;
      found.edge[state] = edge;
      queue.emplace(capped, state);
    }
  };
  const auto along = [&](const Back& back) {
    const Edge& edge = nfa.edges[back.edge];
    std::uint64_t step = edge.kind == Edge::Kind::kEmpty ? 0 : 1;
    if (edge.kind == Edge::Kind::kCall) {
      const std::uint32_t start = nfa.rules[edge.label].start;
      if (!done[start] || !done[edge.to]) {
        return;
      }
      step = cost[start];
    }
    relax(back.from, std::uint64_t{cost[edge.to]} + step, back.edge);
  };
  for (const Nfa::Rule& rule : nfa.rules) {
    relax(rule.end, 0, kNoEdge);
  }
  while (!queue.empty()) {
    const auto [value, state] = queue.top();
    queue.pop();
    if (done[state] || value != cost[state]) {
      continue;
    }
    done[state] = true;
    found.order.push_back(state);
    std::ranges::for_each(into[state], along);
    if (rule_at[state] != kUnreachable) {
      std::ranges::for_each(callers[rule_at[state]], along);
    }
  }
  return found;
}

Result<Nfa> compile(const ExprPool& pool, Expr root, Calls calls) {
  GENESIS_TRY(Nfa nfa, Compiler(pool, calls).run(root));
  const std::vector<std::uint32_t> ends = shortest_ends(nfa).cost;
  if (calls == Calls::kAllowed && ends[nfa.rules.front().start] == kUnreachable) {
    return fail(ErrorCode::kInvalidArgument, "no text at all is in this language");
  }
  prune(nfa, ends);
  for (Nfa::Rule& rule : nfa.rules) {
    rule.nullable = ends[rule.start] == 0;
  }
  classify_bytes(nfa);
  if (calls == Calls::kAllowed && LeftRecursion(nfa).found()) {
    return fail(ErrorCode::kUnsupported,
                "a rule begins with itself (left recursion)",
                "write the repetition with '*' or '+', or put something before the recursion");
  }
  return nfa;
}

}  // namespace genesis::text::grammar
