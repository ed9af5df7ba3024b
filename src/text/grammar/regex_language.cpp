#include "text/grammar/regex_language.h"

#include "text/grammar/regex_parser.h"
#include "text/grammar/utf8_automaton.h"

#include <span>
#include <utility>

namespace genesis::text::grammar {

namespace {

using Kind = RegexNode::Kind;

// Whether nothing of the pattern stands before or after a node: where anchors may be, and where a
// search lets any text go before or after.
struct Borders {
  bool first = false;
  bool last = false;
};

bool has_anchor(const RegexNode& node) {
  if (node.kind == Kind::kBegin || node.kind == Kind::kEnd) {
    return true;
  }
  for (const RegexNode& part : node.parts) {
    if (has_anchor(part)) {
      return true;
    }
  }
  return false;
}

class Emitter {
 public:
  Emitter(ExprPool& pool, const RegexOptions& options) : pool_(pool), options_(options) {
    const Expr any = options_.search ? character({{0, 0x10FFFF}}) : pool_.empty();
    any_text_ = pool_.repeat(any, 0, std::nullopt);
  }

  Result<Expr> emit(const RegexNode& node, Borders borders) {
    GENESIS_TRY_VOID(pool_.check_size());
    switch (node.kind) {
      case Kind::kClass:
        return padded(character(normal_ranges(node.ranges, false)), borders);
      case Kind::kRepeat: {
        if (has_anchor(node)) {
          return fail(ErrorCode::kUnsupported,
                      "regular expression: an anchor inside a repetition is not supported");
        }
        GENESIS_TRY(const Expr part, emit(node.parts.front(), {}));
        return padded(pool_.repeat(part, node.least, node.most), borders);
      }
      case Kind::kChoice: {
        std::vector<Expr> parts;
        for (const RegexNode& part : node.parts) {
          GENESIS_TRY(const Expr expr, emit(part, borders));
          parts.push_back(expr);
        }
        return pool_.choice(std::move(parts));
      }
      case Kind::kSequence:
        return sequence(node.parts, borders);
      case Kind::kBegin:
      case Kind::kEnd:
        break;
    }
    return fail(ErrorCode::kUnsupported,
                "regular expression: '^' not at the beginning or '$' not at the end is not "
                "supported");
  }

 private:
  Expr character(const std::vector<CodePointRange>& ranges) {
    return options_.character ? options_.character(ranges) : utf8_automaton(pool_, ranges);
  }

  Expr padded(Expr inner, Borders borders) {
    return pool_.sequence({borders.first ? any_text_ : pool_.empty(),
                           inner,
                           borders.last ? any_text_ : pool_.empty()});
  }

  Result<Expr> sequence(std::span<const RegexNode> parts, Borders borders) {
    while (borders.first && !parts.empty() && parts.front().kind == Kind::kBegin) {
      parts = parts.subspan(1);
      if (parts.empty() || parts.front().kind != Kind::kBegin) {
        borders.first = false;
      }
    }
    while (borders.last && !parts.empty() && parts.back().kind == Kind::kEnd) {
      parts = parts.first(parts.size() - 1);
      if (parts.empty() || parts.back().kind != Kind::kEnd) {
        borders.last = false;
      }
    }
    if (parts.empty()) {
      return borders.first || borders.last ? any_text_ : pool_.empty();
    }
    std::vector<Expr> exprs;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Borders inner{.first = borders.first && i == 0,
                          .last = borders.last && i + 1 == parts.size()};
      GENESIS_TRY(const Expr expr, emit(parts[i], inner));
      exprs.push_back(expr);
    }
    return pool_.sequence(std::move(exprs));
  }

  ExprPool& pool_;
  const RegexOptions& options_;
  Expr any_text_ = 0;
};

}  // namespace

Result<Expr> regex_language(ExprPool& pool, std::string_view pattern, const RegexOptions& options) {
  const RegexLimits limits{.depth = pool.limits().depth, .nodes = pool.limits().nodes};
  GENESIS_TRY(const RegexNode tree, parse_regex(pattern, limits, options.ecma_dot));
  return Emitter(pool, options).emit(tree, {.first = true, .last = true});
}

Result<Expr> regex_language(ExprPool& pool, std::string_view pattern) {
  return regex_language(pool, pattern, RegexOptions{});
}

}  // namespace genesis::text::grammar
