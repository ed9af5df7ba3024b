// Objects of a schema: which members, in which order, how many.
#include "text/grammar/regex_language.h"
#include "text/grammar/schema_compiler.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

namespace genesis::text::grammar {

namespace {

// Names that match some of the patterns and not the others are a language of their own, so the
// number of languages doubles with each pattern.
constexpr std::size_t kMostPatterns = 4;

bool is_false(const json::value& schema) {
  return schema.is_bool() && !schema.get_bool();
}

std::string pattern_pointer(const ObjectRules& rules, std::string_view pattern) {
  return child_pointer(child_pointer(rules.pointer, "patternProperties"), pattern);
}

// Walks the ways to write the members: which are still to come, how many were written.
class MemberGraph {
 public:
  struct Place {
    std::size_t next = 0;     // the member to decide about
    std::size_t written = 0;  // as far as it matters
    std::size_t distinct = 0;
    bool further = false;    // one without declared name was written
    bool separated = false;  // the comma, if needed, is there: a member has to follow

    auto operator<=>(const Place&) const = default;
  };

  std::uint32_t node(const Place& place) {
    const auto [found, fresh] =
        nodes_.try_emplace(place, static_cast<std::uint32_t>(2 + nodes_.size()));
    if (fresh) {
      open.push_back(place);
    }
    return found->second;
  }

  std::uint32_t size() const { return static_cast<std::uint32_t>(2 + nodes_.size()); }

  std::vector<Place> open;
  std::vector<Arc> arcs;

 private:
  std::map<Place, std::uint32_t> nodes_;
};

}  // namespace

std::vector<std::string> SchemaCompiler::member_names(const Facts& facts) const {
  std::vector<std::string> names;
  const auto add = [&](std::string_view name) {
    if (!contains(names, name)) {
      names.emplace_back(name);
    }
  };
  for (const ObjectRules& rules : facts.objects) {
    if (rules.properties != nullptr) {
      for (const auto& member : *rules.properties) {
        add(member.key());
      }
    }
  }
  for (const std::string& name : facts.required) {
    add(name);
  }
  return names;
}

Result<const Dfa*> SchemaCompiler::pattern_names(const std::string& pattern,
                                                 const std::string& pointer) {
  const auto found = pattern_names_.find(pattern);
  if (found != pattern_names_.end()) {
    return &found->second;
  }
  Facts facts;
  facts.patterns = {{pattern, pointer}};
  GENESIS_TRY(const std::vector<Expr> parts, string_parts(facts));
  GENESIS_TRY(Dfa dfa, determinize(pool_, parts.front()));
  return &pattern_names_.emplace(pattern, std::move(dfa)).first->second;
}

Result<std::optional<Dfa>> SchemaCompiler::allowed_names(const Facts& facts) {
  if (facts.names.empty()) {
    return std::nullopt;
  }
  GENESIS_TRY(const std::vector<Facts> alternatives, finder_.alternatives(facts.names));
  std::vector<Expr> parts;
  for (const Facts& names : alternatives) {
    if ((names.types & kStringType) == 0) {
      continue;
    }
    if (names.allowed) {
      for (const json::value* value : *names.allowed) {
        GENESIS_TRY(const bool allowed, allows(names, *value));
        if (allowed && value->is_string()) {
          parts.push_back(pool_.literal(spelled(value->get_string())));
        }
      }
      continue;
    }
    GENESIS_TRY(const std::optional<Expr> part, spelled_string(names));
    parts.push_back(part ? *part : pool_.repeat(spelled_any(), 0, std::nullopt));
  }
  GENESIS_TRY(Dfa dfa, determinize(pool_, pool_.choice(std::move(parts))));
  return dfa;
}

Result<Conjunction> SchemaCompiler::member_schemas(const Facts& facts, const std::string& name) {
  Conjunction schemas;
  bool evaluated = false;
  for (const ObjectRules& rules : facts.objects) {
    const json::value* own =
        rules.properties == nullptr ? nullptr : rules.properties->if_contains(name);
    bool matched = own != nullptr;
    if (own != nullptr) {
      schemas.push_back({own, child_pointer(child_pointer(rules.pointer, "properties"), name)});
    }
    if (rules.patterns != nullptr) {
      for (const auto& member : *rules.patterns) {
        const std::string at = pattern_pointer(rules, member.key());
        GENESIS_TRY(const Dfa* names, pattern_names(std::string(member.key()), at));
        if (names->contains(spelled(name))) {
          schemas.push_back({&member.value(), at});
          matched = true;
        }
      }
    }
    if (!matched && rules.additional != nullptr) {
      schemas.push_back({rules.additional, child_pointer(rules.pointer, "additionalProperties")});
      matched = true;
    }
    evaluated = evaluated || matched;
  }
  if (!evaluated) {
    schemas.insert(schemas.end(), facts.unevaluated.begin(), facts.unevaluated.end());
  }
  return schemas;
}

Result<Expr> SchemaCompiler::further_name(const Dfa& names) {
  const Expr quote = pool_.literal("\"");
  return pool_.sequence({quote, to_expr(pool_, names), quote});
}

Result<std::vector<SchemaCompiler::FurtherMembers>> SchemaCompiler::further_members(
    const Facts& facts, const std::vector<std::string>& declared) {
  struct Source {
    std::string pattern;
    Conjunct value;
    const ObjectRules* rules;
  };

  std::vector<Source> sources;
  std::vector<std::string> patterns;
  bool closed = false;
  bool has_properties = false;
  for (const ObjectRules& rules : facts.objects) {
    has_properties = has_properties || rules.properties != nullptr;
    closed = closed || rules.additional != nullptr;
    if (rules.patterns == nullptr) {
      continue;
    }
    for (const auto& member : *rules.patterns) {
      const std::string pattern(member.key());
      sources.push_back({pattern, {&member.value(), pattern_pointer(rules, pattern)}, &rules});
      if (!contains(patterns, pattern)) {
        patterns.push_back(pattern);
      }
    }
  }
  // OpenAI's strict mode: objects that declare members and do not speak of further ones are closed.
  closed = options_.closed_objects && !closed && has_properties && facts.unevaluated.empty();
  if (patterns.size() > kMostPatterns) {
    return unsupported_keyword("patternProperties with more than 4 patterns",
                               sources.front().value.pointer);
  }
  if (!any_name_) {
    GENESIS_TRY(any_name_, determinize(pool_, pool_.repeat(spelled_any(), 0, std::nullopt)));
  }
  GENESIS_TRY(const std::optional<Dfa> allowed, allowed_names(facts));
  std::vector<Expr> literals;
  for (const std::string& name : declared) {
    literals.push_back(pool_.literal(spelled(name)));
  }
  GENESIS_TRY(const Dfa taken, determinize(pool_, pool_.choice(std::move(literals))));
  std::vector<FurtherMembers> out;
  for (std::size_t subset = 0; subset < std::size_t{1} << patterns.size(); ++subset) {
    const auto chosen = [&](const std::string& pattern) {
      const auto index = std::ranges::find(patterns, pattern) - patterns.begin();
      return (subset >> index & 1) != 0;
    };
    FurtherMembers kind;
    bool possible = subset != 0 || !closed;
    bool evaluated = subset != 0;
    for (const ObjectRules& rules : facts.objects) {
      bool matched = false;
      for (const Source& source : sources) {
        if (source.rules == &rules && chosen(source.pattern)) {
          kind.value.push_back(source.value);
          matched = true;
        }
      }
      if (!matched && rules.additional != nullptr) {
        kind.value.push_back(
            {rules.additional, child_pointer(rules.pointer, "additionalProperties")});
        evaluated = true;
      }
    }
    if (!evaluated) {
      kind.value.insert(kind.value.end(), facts.unevaluated.begin(), facts.unevaluated.end());
    }
    possible = possible && std::ranges::none_of(kind.value, [](const Conjunct& conjunct) {
                 return is_false(*conjunct.schema);
               });
    if (!possible) {
      continue;
    }
    if (patterns.empty() && declared.empty() && !allowed) {
      kind.name = text_.string();
      out.push_back(std::move(kind));
      continue;
    }
    Dfa names = *any_name_;
    for (const Source& source : sources) {
      GENESIS_TRY(const Dfa* matching, pattern_names(source.pattern, source.value.pointer));
      GENESIS_TRY(
          names,
          combine(names, *matching, chosen(source.pattern) ? Combine::kBoth : Combine::kFirstOnly));
    }
    if (allowed) {
      GENESIS_TRY(names, combine(names, *allowed, Combine::kBoth));
    }
    GENESIS_TRY(names, combine(names, taken, Combine::kFirstOnly));
    if (!names.empty()) {
      GENESIS_TRY(kind.name, further_name(names));
      out.push_back(std::move(kind));
    }
  }
  return out;
}

Result<Expr> SchemaCompiler::emit_object(const Facts& facts) {
  if (facts.objects.empty() && facts.unevaluated.empty() && facts.required.empty() &&
      facts.names.empty() && facts.properties.least == 0 && !facts.properties.most) {
    return text_.any_object();
  }
  const std::vector<std::string> names = member_names(facts);
  GENESIS_TRY(const std::optional<Dfa> allowed, allowed_names(facts));
  std::vector<NamedMember> named;
  for (const std::string& name : names) {
    NamedMember member{.member = pool_.nothing(), .required = contains(facts.required, name)};
    if (!allowed || allowed->contains(spelled(name))) {
      GENESIS_TRY(const Conjunction schemas, member_schemas(facts, name));
      GENESIS_TRY(const Expr value, compile(schemas));
      member.member =
          pool_.sequence({pool_.literal("\"" + spelled(name) + "\""), text_.colon(), value});
    }
    named.push_back(member);
  }
  GENESIS_TRY(const std::vector<FurtherMembers> further, further_members(facts, names));
  std::vector<Expr> kinds;
  for (const FurtherMembers& kind : further) {
    GENESIS_TRY(const Expr value, compile(kind.value));
    kinds.push_back(pool_.sequence({kind.name, text_.colon(), value}));
  }
  return members(facts, named, pool_.choice(std::move(kinds)));
}

Result<Expr> SchemaCompiler::members(const Facts& facts,
                                     const std::vector<NamedMember>& named,
                                     Expr further) {
  constexpr std::size_t kMostPlaces = 20'000;
  const auto required =
      static_cast<std::size_t>(std::ranges::count(named, true, &NamedMember::required));
  const std::string at = facts.objects.empty() ? "" : facts.objects.front().pointer;
  const std::size_t need = facts.properties.least > required ? facts.properties.least : 0;
  const bool open = further != pool_.nothing();
  // Two further members may have the same name and then count once.
  if (open && need > named.size() + 1) {
    return unsupported_keyword("minProperties above the declared members and one more", at);
  }
  const std::size_t most = facts.properties.most.value_or(std::numeric_limits<std::size_t>::max());
  const std::size_t written_cap = facts.properties.most ? most : 1;
  if ((named.size() + 1) * (std::min(written_cap, named.size() + 64) + 1) * (need + 1) >
      kMostPlaces) {
    return unsupported_keyword("maxProperties with so many members", at);
  }
  MemberGraph graph;
  graph.arcs.push_back({0, pool_.empty(), graph.node({})});
  while (!graph.open.empty()) {
    const MemberGraph::Place place = graph.open.back();
    graph.open.pop_back();
    const std::uint32_t from = graph.node(place);
    const bool declared = place.next < named.size();
    MemberGraph::Place after = place;
    after.separated = !place.separated;
    if (place.separated) {
      after.written = std::min(place.written + 1, written_cap);
      after.distinct = std::min(place.distinct + (declared || !place.further ? 1 : 0), need);
      after.further = place.further || (!declared && need > 0);
      after.next = place.next + (declared ? 1 : 0);
      graph.arcs.push_back(
          {from, declared ? named[place.next].member : further, graph.node(after)});
      continue;
    }
    if (!facts.properties.most || place.written < most) {
      if (declared || open) {
        graph.arcs.push_back(
            {from, place.written == 0 ? pool_.empty() : text_.comma(), graph.node(after)});
      }
    }
    if (declared && !named[place.next].required) {
      MemberGraph::Place skipped = place;
      ++skipped.next;
      graph.arcs.push_back({from, pool_.empty(), graph.node(skipped)});
    }
    if (!declared && place.distinct >= need) {
      graph.arcs.push_back({from, place.written == 0 ? pool_.empty() : text_.space(), 1});
    }
    if (graph.size() > kMostPlaces) {
      return unsupported_keyword("maxProperties with so many members", at);
    }
  }
  const std::uint32_t size = graph.size();
  return text_.enclosed('{', pool_.graph(size, std::move(graph.arcs)), '}');
}

}  // namespace genesis::text::grammar
