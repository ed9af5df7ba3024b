#include "text/grammar/regular.h"

#include "text/grammar/nfa.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

namespace genesis::text::grammar {

namespace {

// A pattern whose automaton is larger is refused; real ones have tens or hundreds of states.
constexpr std::size_t kMostStates = 20'000;

// Following the arcs of all sets at once is what costs time.
constexpr std::size_t kMostWork = 4'000'000;

std::unexpected<Error> too_large() {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("a pattern needs more than {} states", kMostStates),
              "use a simpler pattern or a smaller length limit");
}

class Determinizer {
 public:
  explicit Determinizer(const Nfa& nfa) : nfa_(nfa), mark_(nfa.states(), 0) {}

  Result<Dfa> run() {
    dfa_.class_of = nfa_.class_of;
    dfa_.classes = nfa_.class_byte.size();
    intern({nfa_.rules.front().start});
    for (std::uint32_t state = 0; state < sets_.size(); ++state) {
      for (std::size_t c = 0; c < dfa_.classes; ++c) {
        std::vector<std::uint32_t> targets;
        for (const std::uint32_t item : *sets_[state]) {
          for (const Edge& edge : nfa_.out(item)) {
            ++work_;
            if (edge.kind == Edge::Kind::kBytes && nfa_.sets[edge.label][nfa_.class_byte[c]]) {
              targets.push_back(edge.to);
            }
          }
        }
        const std::uint32_t to = targets.empty() ? Dfa::kNone : intern(std::move(targets));
        dfa_.next[state * dfa_.classes + c] = to;
        if (sets_.size() > kMostStates || work_ > kMostWork) {
          return too_large();
        }
      }
    }
    return std::move(dfa_);
  }

 private:
  std::uint32_t intern(std::vector<std::uint32_t> work) {
    ++marked_;
    std::vector<std::uint32_t> set;
    while (!work.empty()) {
      const std::uint32_t state = work.back();
      work.pop_back();
      if (std::exchange(mark_[state], marked_) == marked_) {
        continue;
      }
      set.push_back(state);
      for (const Edge& edge : nfa_.out(state)) {
        ++work_;
        if (edge.kind == Edge::Kind::kEmpty) {
          work.push_back(edge.to);
        }
      }
    }
    std::ranges::sort(set);
    const auto [found, fresh] =
        index_.try_emplace(std::move(set), static_cast<std::uint32_t>(sets_.size()));
    if (fresh) {
      sets_.push_back(&found->first);
      dfa_.next.resize(dfa_.next.size() + dfa_.classes, Dfa::kNone);
      dfa_.accepts.push_back(
          std::ranges::any_of(found->first, [&](std::uint32_t s) { return nfa_.is_end[s]; }));
    }
    return found->second;
  }

  const Nfa& nfa_;
  Dfa dfa_;
  std::map<std::vector<std::uint32_t>, std::uint32_t> index_;
  std::vector<const std::vector<std::uint32_t>*> sets_;
  std::vector<std::uint32_t> mark_;
  std::uint32_t marked_ = 0;
  std::size_t work_ = 0;
};

// Drops the states from which nothing is accepted.
Dfa trimmed(const Dfa& dfa) {
  std::vector<std::vector<std::uint32_t>> into(dfa.states());
  std::vector<std::uint32_t> work;
  std::vector<bool> useful(dfa.states(), false);
  for (std::uint32_t s = 0; s < dfa.states(); ++s) {
    for (std::size_t c = 0; c < dfa.classes; ++c) {
      const std::uint32_t to = dfa.next[s * dfa.classes + c];
      if (to != Dfa::kNone) {
        into[to].push_back(s);
      }
    }
    if (dfa.accepts[s]) {
      useful[s] = true;
      work.push_back(s);
    }
  }
  while (!work.empty()) {
    const std::uint32_t s = work.back();
    work.pop_back();
    for (const std::uint32_t from : into[s]) {
      if (!useful[from]) {
        useful[from] = true;
        work.push_back(from);
      }
    }
  }
  useful[0] = true;
  std::vector<std::uint32_t> number(dfa.states(), Dfa::kNone);
  std::uint32_t count = 0;
  for (std::uint32_t s = 0; s < dfa.states(); ++s) {
    number[s] = useful[s] ? count++ : Dfa::kNone;
  }
  Dfa out{.class_of = dfa.class_of, .classes = dfa.classes, .next = {}, .accepts = {}};
  for (std::uint32_t s = 0; s < dfa.states(); ++s) {
    if (!useful[s]) {
      continue;
    }
    out.accepts.push_back(dfa.accepts[s]);
    for (std::size_t c = 0; c < dfa.classes; ++c) {
      const std::uint32_t to = dfa.next[s * dfa.classes + c];
      out.next.push_back(to == Dfa::kNone ? Dfa::kNone : number[to]);
    }
  }
  return out;
}

}  // namespace

bool Dfa::empty() const {
  return std::ranges::none_of(accepts, [](bool accepted) { return accepted; });
}

bool Dfa::contains(std::string_view bytes) const {
  std::uint32_t state = 0;
  for (const char c : bytes) {
    state = step(state, static_cast<std::uint8_t>(c));
  }
  return state != kNone && accepts[state];
}

Result<Dfa> determinize(const ExprPool& pool, Expr expr) {
  GENESIS_TRY(const Nfa nfa, compile(pool, expr, Calls::kNone));
  GENESIS_TRY(const Dfa dfa, Determinizer(nfa).run());
  return minimal(dfa);
}

Result<Dfa> combine(const Dfa& a, const Dfa& b, Combine how) {
  Dfa out;
  std::map<std::pair<std::uint8_t, std::uint8_t>, std::uint8_t> classes;
  std::vector<std::uint8_t> byte_of;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto [found, fresh] = classes.try_emplace({a.class_of[byte], b.class_of[byte]},
                                                    static_cast<std::uint8_t>(byte_of.size()));
    if (fresh) {
      byte_of.push_back(static_cast<std::uint8_t>(byte));
    }
    out.class_of[byte] = found->second;
  }
  out.classes = byte_of.size();
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> index = {{{0, 0}, 0}};
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs = {{0, 0}};
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto [x, y] = pairs[i];
    const bool in_b = y != Dfa::kNone && b.accepts[y];
    out.accepts.push_back(a.accepts[x] && (how == Combine::kBoth ? in_b : !in_b));
    for (const std::uint8_t byte : byte_of) {
      const std::uint32_t to_x = a.step(x, byte);
      const std::uint32_t to_y = b.step(y, byte);
      if (to_x == Dfa::kNone || (how == Combine::kBoth && to_y == Dfa::kNone)) {
        out.next.push_back(Dfa::kNone);
        continue;
      }
      const auto [found, fresh] =
          index.try_emplace({to_x, to_y}, static_cast<std::uint32_t>(pairs.size()));
      if (fresh) {
        pairs.emplace_back(to_x, to_y);
      }
      out.next.push_back(found->second);
    }
    if (pairs.size() > kMostStates) {
      return too_large();
    }
  }
  return minimal(out);
}

// Moore's refinement: states are equal until their successors show otherwise.
Dfa minimal(const Dfa& given) {
  const Dfa dfa = trimmed(given);
  std::vector<std::uint32_t> group(dfa.states());
  for (std::uint32_t s = 0; s < dfa.states(); ++s) {
    group[s] = dfa.accepts[s] ? 1 : 0;
  }
  std::size_t groups = 0;
  std::vector<std::uint32_t> key(dfa.classes + 1);
  for (;;) {
    std::map<std::vector<std::uint32_t>, std::uint32_t> index;
    std::vector<std::uint32_t> refined(dfa.states());
    for (std::uint32_t s = 0; s < dfa.states(); ++s) {
      key[0] = group[s];
      for (std::size_t c = 0; c < dfa.classes; ++c) {
        const std::uint32_t to = dfa.next[s * dfa.classes + c];
        key[c + 1] = to == Dfa::kNone ? Dfa::kNone : group[to];
      }
      refined[s] = index.try_emplace(key, static_cast<std::uint32_t>(index.size())).first->second;
    }
    group = std::move(refined);
    if (index.size() == groups) {
      break;
    }
    groups = index.size();
  }
  Dfa out{.class_of = dfa.class_of, .classes = dfa.classes, .next = {}, .accepts = {}};
  out.accepts.assign(groups, false);
  out.next.assign(groups * dfa.classes, Dfa::kNone);
  for (std::uint32_t s = 0; s < dfa.states(); ++s) {
    out.accepts[group[s]] = dfa.accepts[s];
    for (std::size_t c = 0; c < dfa.classes; ++c) {
      const std::uint32_t to = dfa.next[s * dfa.classes + c];
      out.next[group[s] * dfa.classes + c] = to == Dfa::kNone ? Dfa::kNone : group[to];
    }
  }
  return out;
}

Expr to_expr(ExprPool& pool, const Dfa& dfa) {
  if (dfa.empty()) {
    return pool.nothing();
  }
  std::vector<Arc> arcs = {{0, pool.empty(), 2}};
  for (std::uint32_t s = 0; s < dfa.states(); ++s) {
    std::map<std::uint32_t, ByteSet> sets;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const std::uint32_t to = dfa.step(s, static_cast<std::uint8_t>(byte));
      if (to != Dfa::kNone) {
        sets[to].set(byte);
      }
    }
    for (const auto& [to, set] : sets) {
      arcs.push_back({s + 2, pool.bytes(set), to + 2});
    }
    if (dfa.accepts[s]) {
      arcs.push_back({s + 2, pool.empty(), 1});
    }
  }
  return pool.graph(static_cast<std::uint32_t>(dfa.states() + 2), std::move(arcs));
}

}  // namespace genesis::text::grammar
