// GrammarStore: the grammars of one model's answers, compiled beside the io thread and kept, so
// that agents that ask in the same form again and again pay for it once.
#pragma once

#include "base/result.h"
#include "base/task.h"
#include "text/grammar/grammar.h"
#include "text/grammar/matcher.h"
#include "text/tokenizer.h"

#include <boost/asio/thread_pool.hpp>

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace genesis::engine {

// Lives on the io thread, and goes after every start() has returned or was dropped.
class GrammarStore {
 public:
  explicit GrammarStore(std::shared_ptr<const text::Tokenizer> tokenizer);
  ~GrammarStore();
  GrammarStore(const GrammarStore&) = delete;
  GrammarStore& operator=(const GrammarStore&) = delete;

  using Build = std::function<Result<text::GrammarBuilder::Expr>(text::GrammarBuilder&)>;

  // Every answer takes its own copy.
  using Start = std::shared_ptr<const text::GrammarMatcher>;

  // The beginning of an answer in the language that `build` describes; `key` names the language.
  // Errors: those of the builder; kUnsupported when the vocabulary lacks one of its tokens.
  Task<Result<Start>> start(std::string key, Build build);

 private:
  using Entry = std::pair<std::string, Start>;

  class Compiler;

  // How many grammars are kept: a fleet of fifteen agents with some forms and tool sets each. With
  // the masks of one bounded by kCacheBytes, clients cannot fill the memory with them.
  static constexpr std::size_t kMostKept = 48;
  static constexpr std::size_t kCacheBytes = 16U << 20;

  std::shared_ptr<Compiler> compiler_;
  std::list<Entry> kept_;  // the last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
  boost::asio::thread_pool worker_{1};
};

}  // namespace genesis::engine
