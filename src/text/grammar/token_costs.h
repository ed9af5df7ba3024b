// How few tokens are enough to finish, from every state of a compiled language.
#pragma once

#include "text/grammar/nfa.h"
#include "text/grammar/token_trie.h"

#include <cstdint>
#include <vector>

namespace genesis::text::grammar {

// By state of the nfa: a number of tokens with which the end of its rule can be reached;
// kUnreachable where the vocabulary does not allow it. There is always a token that makes it one
// less.
using TokenCosts = std::vector<std::uint32_t>;

TokenCosts token_costs(const Nfa& nfa, const VocabularyTrie& vocabulary);

}  // namespace genesis::text::grammar
