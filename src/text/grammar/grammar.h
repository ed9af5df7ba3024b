// Grammars: which texts an answer may be, as a language over bytes.
//
// A language is built from expressions, either by hand or from a JSON Schema, a regular expression
// or GBNF. The three can be mixed: a tool call is a marker, a name and the arguments' schema.
#pragma once

#include "base/result.h"

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// Everything a client can make large. Beyond it a language is refused (kInvalidArgument).
struct GrammarLimits {
  std::size_t source_bytes = 512 * 1024;  // of one schema, pattern or GBNF text
  std::size_t nodes = 200'000;  // of all expressions, repeats counted as often as they say
  std::size_t depth = 64;       // of nested schemas and groups
  // Of one grammar's automaton and masks for one vocabulary; beyond it they are made anew.
  std::size_t cache_bytes = 64 * 1024 * 1024;
};

struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;  // inclusive
};

struct JsonSchemaOptions {
  // White space a model may write between the parts: none, or at most so many blanks or one newline
  // with so many blanks. Bounded, since small models otherwise write blanks forever.
  std::size_t most_whitespace = 20;
  // Objects without additionalProperties take further members, as JSON Schema says; OpenAI's
  // `strict` forbids them.
  bool closed_objects = false;
};

// A finished language. Immutable but for caches that are safe from any thread.
class Grammar;

// Not thread-safe. Expressions belong to their builder; the same one may be used several times.
class GrammarBuilder {
 public:
  using Expr = std::int32_t;

  explicit GrammarBuilder(GrammarLimits limits = {});
  ~GrammarBuilder();
  GrammarBuilder(GrammarBuilder&&) noexcept;
  GrammarBuilder& operator=(GrammarBuilder&&) noexcept;

  Expr literal(std::string_view bytes);  // "" is the empty word
  Expr byte(const std::bitset<256>& set);
  // One code point, in UTF-8. Surrogates are never part of it.
  Expr character(std::span<const CodePointRange> ranges, bool negated);
  Expr sequence(std::span<const Expr> parts);
  Expr choice(std::span<const Expr> parts);
  // `most` unset: no limit.
  Expr repeat(Expr part, std::size_t least, std::optional<std::size_t> most);
  // The special token spelled so, as one token; the same letters as text do not match.
  Expr special_token(std::string_view content);
  // Any text (valid UTF-8) in which `marker` does not occur.
  Expr text_without(std::string_view marker);

  // Recursion: make a rule, refer to it, define it once.
  Expr new_rule();
  void define(Expr rule, Expr body);

  // Errors: kInvalidArgument naming the place; kUnsupported naming the keyword or construct.
  Result<Expr> json_schema(std::string_view schema_json, const JsonSchemaOptions& options = {});
  // Any JSON object, the language of response_format json_object.
  Result<Expr> json_object(const JsonSchemaOptions& options = {});
  // The pattern matches the whole text, as TGI and vLLM mean it.
  Result<Expr> regex(std::string_view pattern);
  // llama.cpp's notation; the language of its rule `root`.
  Result<Expr> gbnf(std::string_view source);

  Result<std::shared_ptr<const Grammar>> build(Expr root);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genesis::text
