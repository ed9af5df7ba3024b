// The parsed template. Plain data, immutable after parsing; names are numbers given by the parser.
#pragma once

#include "text/jinja/value.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace genesis::text::jinja {

struct Filter;
struct Test;

using NameId = std::uint32_t;

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star;       // *args
  ExpressionPtr star_star;  // **kwargs
};

enum class Operator : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expression {
  enum class Kind : std::uint8_t {
    kConstant,         // value
    kName,             // name
    kTuple,            // parts
    kList,             // parts
    kDict,             // parts: key, value, key, value, ...
    kAnd,              // parts
    kOr,               // parts
    kNot,              // parts[0]
    kCompare,          // parts[0] operators[0] parts[1] operators[1] ...
    kArithmetic,       // the same, left to right
    kConcat,           // parts
    kNegate,           // parts[0]
    kPlus,             // parts[0]
    kAttribute,        // parts[0] . text
    kItem,             // parts[0] [ parts[1] ]
    kSlice,            // parts[0] [ parts[1] : parts[2] : parts[3] ], null where left out
    kCall,             // parts[0] ( arguments )
    kFilter,           // parts[0] | filter ( arguments ); parts[0] null in a filter block
    kTest,             // parts[0] is test ( arguments ); test and filter are null if unknown
    kCondition,        // parts[0] if parts[1] else parts[2], which may be null
    kAttributeTarget,  // name . text, in {% set %}
  };

  Kind kind;
  std::uint32_t line = 0;
  std::uint32_t height = 1;  // of the tree below, itself included
  NameId name = 0;
  Value value = {};
  std::string text = {};
  std::vector<ExpressionPtr> parts = {};
  std::vector<Operator> operators = {};
  CallArguments arguments = {};
  const Filter* filter = nullptr;
  const Test* test = nullptr;
};

struct Statement;
using Body = std::vector<Statement>;

// A macro's or call block's parameters.
struct Signature {
  std::vector<NameId> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  bool uses_caller = false;
  bool uses_kwargs = false;
  bool uses_varargs = false;
};

struct Statement {
  enum class Kind : std::uint8_t {
    kText,         // text
    kOutput,       // expression
    kFor,          // target in expression [if condition]; body, otherwise
    kIf,           // branches; otherwise
    kSet,          // target = expression
    kSetBlock,     // target; expression: the filters, or null; body
    kMacro,        // name, signature, body
    kCallBlock,    // expression: the call; signature, body
    kFilterBlock,  // expression: the filters; body
    kWith,         // targets = expressions; body
    kGeneration,   // body
    kBreak,
    kContinue,
  };

  struct Branch {
    ExpressionPtr condition;
    Body body;
  };

  Kind kind;
  std::uint32_t line = 0;
  NameId name = 0;
  std::string text = {};
  ExpressionPtr target = {};
  ExpressionPtr expression = {};
  ExpressionPtr condition = {};
  Signature signature = {};
  Body body = {};
  Body otherwise = {};
  std::vector<Branch> branches = {};
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> bindings = {};
};

struct Template {
  Body body;
  std::vector<std::string> names;  // by NameId

  std::optional<NameId> find_name(std::string_view name) const;
};

}  // namespace genesis::text::jinja
