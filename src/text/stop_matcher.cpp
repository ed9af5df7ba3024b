// Stop strings by Knuth-Morris-Pratt, one automaton per stop string: linear in the text, and what
// is held back is exactly the longest end of the text that begins some stop string.
#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

namespace genesis::text {

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include_stop)
    : include_stop_(include_stop) {
  std::erase_if(stops, [](const std::string& stop) { return stop.empty(); });
  for (std::string& stop : stops) {
    Automaton automaton{std::move(stop), {0}, 0};
    for (std::size_t i = 1, length = 0; i < automaton.stop.size(); ++i) {
      while (length > 0 && automaton.stop[i] != automaton.stop[length]) {
        length = automaton.fallback[length - 1];
      }
      length += automaton.stop[i] == automaton.stop[length] ? 1U : 0U;
      automaton.fallback.push_back(length);
    }
    automata_.push_back(std::move(automaton));
  }
}

bool StopMatcher::Automaton::advance(char c) {
  while (matched > 0 && stop[matched] != c) {
    matched = fallback[matched - 1];
  }
  matched += stop[matched] == c ? 1U : 0U;
  return matched == stop.size();
}

StopMatcher::Output StopMatcher::push(std::string_view piece) {
  Output out;
  if (stopped_) {
    out.stopped = true;
    return out;
  }
  out.text = std::exchange(held_, {});
  for (const char c : piece) {
    out.text.push_back(c);
    // Of several that end here the longest, as it began first.
    std::size_t longest = 0;
    for (Automaton& automaton : automata_) {
      if (automaton.advance(c)) {
        longest = std::max(longest, automaton.stop.size());
      }
    }
    if (longest > 0) {
      stopped_ = out.stopped = true;
      out.text.resize(out.text.size() - (include_stop_ ? 0 : longest));
      return out;
    }
  }
  std::size_t begun = 0;
  for (const Automaton& automaton : automata_) {
    begun = std::max(begun, automaton.matched);
  }
  held_ = out.text.substr(out.text.size() - begun);
  out.text.resize(out.text.size() - begun);
  return out;
}

std::string StopMatcher::flush() {
  return std::exchange(held_, {});
}

}  // namespace genesis::text
