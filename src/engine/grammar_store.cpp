#include "engine/grammar_store.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace genesis::engine {

// What the worker owns: the vocabulary as a trie, made when the first grammar needs it.
class GrammarStore::Compiler {
 public:
  explicit Compiler(std::shared_ptr<const text::Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}

  Result<Start> compile(const Build& build) {
    if (!trie_) {
      trie_ = text::TokenTrie::build(*tokenizer_);
    }
    text::GrammarBuilder builder({.cache_bytes = kCacheBytes});
    GENESIS_TRY(const auto root, build(builder));
    GENESIS_TRY(auto grammar, builder.build(root));
    GENESIS_TRY(auto matcher, text::GrammarMatcher::create(std::move(grammar), trie_));
    return std::make_shared<const text::GrammarMatcher>(std::move(matcher));
  }

 private:
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::shared_ptr<const text::TokenTrie> trie_;
};

GrammarStore::GrammarStore(std::shared_ptr<const text::Tokenizer> tokenizer)
    : compiler_(std::make_shared<Compiler>(std::move(tokenizer))) {}

GrammarStore::~GrammarStore() {
  worker_.join();
}

Task<Result<GrammarStore::Start>> GrammarStore::start(std::string key, Build build) {
  if (const auto found = index_.find(key); found != index_.end()) {
    kept_.splice(kept_.begin(), kept_, found->second);
    co_return kept_.front().second;
  }
  const auto work = [compiler = compiler_, build = std::move(build)]() -> Task<Result<Start>> {
    co_return compiler->compile(build);
  };
  auto made = co_await boost::asio::co_spawn(worker_, work, boost::asio::use_awaitable);
  if (!made) {
    co_return std::unexpected(std::move(made).error());
  }
  // Somebody else may have asked for the same in the meantime.
  if (!index_.contains(key)) {
    kept_.emplace_front(key, *made);
    index_.emplace(std::move(key), kept_.begin());
    if (kept_.size() > kMostKept) {
      index_.erase(kept_.back().first);
      kept_.pop_back();
    }
  }
  co_return *std::move(made);
}

}  // namespace genesis::engine
