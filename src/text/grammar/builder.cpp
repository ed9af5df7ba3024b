// GrammarBuilder: checks sizes and hands everything to the pool and the translators.
#include "text/grammar/compiled.h"
#include "text/grammar/expr.h"
#include "text/grammar/gbnf.h"
#include "text/grammar/grammar.h"
#include "text/grammar/json_schema.h"
#include "text/grammar/regex_language.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace genesis::text {

struct GrammarBuilder::Impl {
  explicit Impl(const GrammarLimits& limits) : pool(limits) {}

  grammar::ExprPool pool;
};

GrammarBuilder::GrammarBuilder(GrammarLimits limits) : impl_(std::make_unique<Impl>(limits)) {}

GrammarBuilder::~GrammarBuilder() = default;
GrammarBuilder::GrammarBuilder(GrammarBuilder&&) noexcept = default;
GrammarBuilder& GrammarBuilder::operator=(GrammarBuilder&&) noexcept = default;

namespace {

Result<void> check_source(std::string_view source, const GrammarLimits& limits, const char* what) {
  if (source.size() > limits.source_bytes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the {} has {} bytes, more than the {} allowed",
                            what,
                            source.size(),
                            limits.source_bytes));
  }
  return {};
}

}  // namespace

GrammarBuilder::Expr GrammarBuilder::literal(std::string_view bytes) {
  return impl_->pool.literal(bytes);
}

GrammarBuilder::Expr GrammarBuilder::byte(const std::bitset<256>& set) {
  return impl_->pool.bytes(set);
}

GrammarBuilder::Expr GrammarBuilder::character(std::span<const CodePointRange> ranges,
                                               bool negated) {
  return impl_->pool.character(ranges, negated);
}

GrammarBuilder::Expr GrammarBuilder::sequence(std::span<const Expr> parts) {
  return impl_->pool.sequence(std::vector(parts.begin(), parts.end()));
}

GrammarBuilder::Expr GrammarBuilder::choice(std::span<const Expr> parts) {
  return impl_->pool.choice(std::vector(parts.begin(), parts.end()));
}

GrammarBuilder::Expr GrammarBuilder::repeat(Expr part,
                                            std::size_t least,
                                            std::optional<std::size_t> most) {
  return impl_->pool.repeat(part, least, most);
}

GrammarBuilder::Expr GrammarBuilder::special_token(std::string_view content) {
  return impl_->pool.special(content);
}

GrammarBuilder::Expr GrammarBuilder::text_without(std::string_view marker) {
  return impl_->pool.text_without(marker);
}

GrammarBuilder::Expr GrammarBuilder::new_rule() {
  return impl_->pool.new_rule();
}

void GrammarBuilder::define(Expr rule, Expr body) {
  impl_->pool.define(rule, body);
}

Result<GrammarBuilder::Expr> GrammarBuilder::json_schema(std::string_view schema_json,
                                                         const JsonSchemaOptions& options) {
  GENESIS_TRY_VOID(check_source(schema_json, impl_->pool.limits(), "schema"));
  return grammar::json_schema(impl_->pool, schema_json, options);
}

Result<GrammarBuilder::Expr> GrammarBuilder::json_object(const JsonSchemaOptions& options) {
  return grammar::json_schema(impl_->pool, R"({"type":"object"})", options);
}

Result<GrammarBuilder::Expr> GrammarBuilder::regex(std::string_view pattern) {
  GENESIS_TRY_VOID(check_source(pattern, impl_->pool.limits(), "pattern"));
  return grammar::regex_language(impl_->pool, pattern);
}

Result<GrammarBuilder::Expr> GrammarBuilder::gbnf(std::string_view source) {
  GENESIS_TRY_VOID(check_source(source, impl_->pool.limits(), "grammar"));
  return grammar::gbnf(impl_->pool, source);
}

Result<std::shared_ptr<const Grammar>> GrammarBuilder::build(Expr root) {
  GENESIS_TRY_VOID(impl_->pool.check_size());
  GENESIS_TRY(grammar::Nfa nfa, grammar::compile(impl_->pool, root, grammar::Calls::kAllowed));
  return std::make_shared<const Grammar>(std::move(nfa), impl_->pool.limits().cache_bytes);
}

}  // namespace genesis::text
