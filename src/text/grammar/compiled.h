// Grammar: the compiled language and, per vocabulary, the machine that runs it.
#pragma once

#include "base/result.h"
#include "text/grammar/grammar.h"
#include "text/grammar/machine.h"
#include "text/grammar/nfa.h"
#include "text/grammar/token_trie.h"

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace genesis::text {

class Grammar {
 public:
  Grammar(grammar::Nfa nfa, std::size_t cache_bytes);

  // The newest machine for this vocabulary. kUnsupported: a special token is not in it.
  Result<std::shared_ptr<grammar::Machine>> machine_for(
      const std::shared_ptr<const grammar::VocabularyTrie>& vocabulary) const;

 private:
  std::shared_ptr<const grammar::Nfa> nfa_;
  std::size_t cache_bytes_;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<grammar::Machine>> machines_;  // newest last
};

}  // namespace genesis::text
