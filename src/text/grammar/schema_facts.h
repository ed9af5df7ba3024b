// What a JSON Schema says, with references, allOf, anyOf and oneOf resolved: a list of
// alternatives, each one set of limits on one value.
#pragma once

#include "base/result.h"
#include "text/grammar/number_language.h"

#include <boost/json.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::text::grammar {

namespace json = boost::json;

// A schema that a value has to satisfy, and where it stands in the document.
struct Conjunct {
  const json::value* schema = nullptr;
  std::string pointer;
};

using Conjunction = std::vector<Conjunct>;

enum TypeBit : std::uint8_t {
  kNullType = 1,
  kBooleanType = 2,
  kIntegerType = 4,
  kFractionType = 8,  // with kIntegerType: any number
  kStringType = 16,
  kArrayType = 32,
  kObjectType = 64,
  kAllTypes = 127,
};

struct Pattern {
  std::string text;
  std::string pointer;
};

// The keywords of one schema that belong together because they speak of each other's rest.
struct ObjectRules {
  const json::object* properties = nullptr;
  const json::object* patterns = nullptr;
  const json::value* additional = nullptr;
  std::string pointer;
};

struct ArrayRules {
  const json::array* prefix = nullptr;
  const json::value* items = nullptr;
  std::string prefix_pointer;
  std::string items_pointer;
};

// Between two values, both included.
struct CountRange {
  std::size_t least = 0;
  std::optional<std::size_t> most;
};

struct Facts {
  std::uint8_t types = kAllTypes;
  std::optional<std::vector<const json::value*>> allowed;  // enum and const
  NumberRange range;
  std::vector<std::pair<Decimal, std::string>> factors;  // multipleOf and where it stands
  CountRange length;
  std::vector<Pattern> patterns;
  std::vector<Pattern> formats;
  std::vector<ObjectRules> objects;
  std::vector<Conjunct> unevaluated;
  std::vector<std::string> required;
  CountRange properties;
  Conjunction names;
  std::vector<ArrayRules> arrays;
  CountRange items;
  std::string unique_pointer;  // where uniqueItems stands, if it does
  // Which branch of which oneOf this is; branches must not overlap.
  std::vector<std::pair<Conjunct, std::size_t>> branches;

  bool any_value() const;
};

class FactFinder {
 public:
  FactFinder(const json::value& document, std::size_t depth) : document_(document), depth_(depth) {}

  // No alternative at all: nothing satisfies the schemas.
  Result<std::vector<Facts>> alternatives(const Conjunction& conjunction);

 private:
  // The schemas a reference or applicator led through, to see circles.
  struct Trail {
    const json::value* schema;
    std::shared_ptr<const Trail> before;
  };

  struct Task {
    Conjunct conjunct;
    std::shared_ptr<const Trail> trail;
  };

  struct Draft {
    Facts facts;
    std::vector<Task> tasks;
    std::vector<const json::value*> seen;
  };

  Result<void> expand(Draft draft, std::vector<Draft>& drafts, std::vector<Facts>& done);
  // False: the draft cannot be satisfied, or was replaced by several in `drafts`.
  Result<bool> apply(const Task& task, Draft& draft, std::vector<Draft>& drafts);
  Result<void> add_keywords(const json::object& schema, const std::string& pointer, Facts& facts);
  Result<void> add_keyword(std::string_view key,
                           const json::value& value,
                           const std::string& pointer,
                           Facts& facts);
  Result<void> add_types(const json::value& value, const std::string& pointer, Facts& facts);
  Result<const json::value*> resolve(std::string_view reference, const std::string& pointer);
  const json::value* find_anchor(const json::value& within,
                                 std::string_view name,
                                 std::size_t depth);

  const json::value& document_;
  std::size_t depth_;
};

// kUnsupported, naming the keyword and where it stands.
std::unexpected<Error> unsupported_keyword(std::string_view keyword, const std::string& pointer);
std::unexpected<Error> invalid_schema(const std::string& pointer, std::string_view what);
// The pointer of a member (RFC 6901).
std::string child_pointer(const std::string& pointer, std::string_view key);

}  // namespace genesis::text::grammar
