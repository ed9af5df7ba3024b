// Turns the facts of a schema into expressions.
#pragma once

#include "base/result.h"
#include "text/grammar/json_text.h"
#include "text/grammar/regular.h"
#include "text/grammar/schema_facts.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text::grammar {

class SchemaCompiler {
 public:
  SchemaCompiler(ExprPool& pool, const json::value& document, const JsonSchemaOptions& options);

  Result<Expr> compile(const Conjunction& conjunction);

 private:
  struct Known {
    Expr expr = 0;
    bool finished = false;
    std::optional<Expr> rule;  // made when asked for before it was finished
  };

  // A kind of member that is not declared by name: which names, and what value.
  struct FurtherMembers {
    Expr name = 0;  // with its quotes
    Conjunction value;
  };

  struct NamedMember {
    Expr member = 0;
    bool required = false;
  };

  Result<Expr> compile_fresh(const Conjunction& conjunction);
  Result<void> check_branches(const std::vector<Facts>& alternatives);
  Result<bool> disjoint(const Facts& a, const Facts& b, std::size_t depth);
  Result<bool> disjoint_objects(const Facts& a, const Facts& b, std::size_t depth);

  Result<Expr> emit(const Facts& facts);
  Result<Expr> emit_allowed(const Facts& facts);
  Result<bool> allows(const Facts& facts, const json::value& value);
  Expr value_text(const json::value& value);
  Result<Expr> emit_number(const Facts& facts);
  Result<Expr> emit_string(const Facts& facts);
  // What may stand between the quotes, as spelled_character() writes it; nullopt: anything.
  Result<std::optional<Expr>> spelled_string(const Facts& facts);
  Result<std::vector<Expr>> string_parts(const Facts& facts);
  Expr spelled_any();

  Result<Expr> emit_array(const Facts& facts);
  Conjunction item_schemas(const Facts& facts, std::size_t index) const;

  Result<Expr> emit_object(const Facts& facts);
  std::vector<std::string> member_names(const Facts& facts) const;
  Result<Conjunction> member_schemas(const Facts& facts, const std::string& name);
  Result<std::vector<FurtherMembers>> further_members(const Facts& facts,
                                                      const std::vector<std::string>& names);
  Result<Expr> further_name(const Dfa& names);
  Result<Expr> members(const Facts& facts, const std::vector<NamedMember>& named, Expr further);
  Result<const Dfa*> pattern_names(const std::string& pattern, const std::string& pointer);
  Result<std::optional<Dfa>> allowed_names(const Facts& facts);

  ExprPool& pool_;
  JsonSchemaOptions options_;
  JsonText text_;
  FactFinder finder_;
  std::map<std::vector<const json::value*>, Known> known_;
  std::map<std::string, Dfa> pattern_names_;
  std::optional<Dfa> any_name_;
  std::optional<Expr> spelled_any_;
  std::size_t depth_ = 0;
};

}  // namespace genesis::text::grammar
