// The parts of JSON text as expressions: white space, strings, numbers, any value.
#pragma once

#include "text/grammar/expr.h"
#include "text/grammar/grammar.h"

#include <cstddef>
#include <string_view>
#include <vector>

namespace genesis::text::grammar {

// Made once per schema, so that equal parts are the same expression and become one rule.
//
// Numbers are bounded, since small models write digits forever: 19 digits before and 18 after the
// point, exponents to 279, so that every number is finite where it is read as a double.
class JsonText {
 public:
  JsonText(ExprPool& pool, const JsonSchemaOptions& options);

  Expr space() const { return space_; }

  Expr string() const { return string_; }

  // One character in any of the ways JSON can write it, for strings of limited length.
  Expr any_character() const { return any_character_; }

  Expr integer() const { return integer_; }

  Expr number() const { return number_; }

  Expr value() const { return value_; }

  Expr any_object() const { return any_object_; }

  Expr any_array() const { return any_array_; }

  Expr boolean() const { return boolean_; }

  // `inner`, which brings the space after it, between braces or brackets.
  Expr enclosed(char open, Expr inner, char close);

  // A comma and the space that may follow.
  Expr comma() const { return comma_; }

  Expr colon() const { return colon_; }

 private:
  Expr any_of_bytes(std::string_view bytes);
  Expr make_character();

  ExprPool& pool_;
  Expr space_;
  Expr comma_;
  Expr colon_;
  Expr any_character_;
  Expr string_;
  Expr integer_;
  Expr number_;
  Expr boolean_;
  Expr value_;
  Expr any_object_;
  Expr any_array_;
};

// One code point of the ranges in the one way a careful writer writes it: as it is, or with its
// short escape, or as \u00xx. So texts and their spellings correspond one to one, and patterns and
// names can be compared byte by byte.
Expr spelled_character(ExprPool& pool, const std::vector<CodePointRange>& ranges);

// The bytes between the quotes, in the same spelling.
std::string spelled(std::string_view text);

}  // namespace genesis::text::grammar
