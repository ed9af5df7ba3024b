// A savings report that can be handed on: the figures, the pins and prices behind them and the part
// of the hash chain they come from, signed with Ed25519.
//
// File: {"payload": {...}, "signature": {"algorithm", "public_key", "value"}}. What is signed is
// "genesis savings report 1\n" and the payload in canonical form: members sorted by their bytes, no
// blanks, no numbers but integers. Anybody can check the signature; whoever has the ledger can
// compute every figure again.
#pragma once

#include "base/ed25519.h"
#include "base/result.h"
#include "ledger/savings.h"
#include "store/database.h"

#include <boost/json/value.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace genesis::ledger {

// The larger of what is ever written and what is ever read.
inline constexpr std::size_t kMaxEvidenceBytes = 64 * 1024 * 1024;

struct EvidenceStamp {
  std::string tool;  // "genesis 0.1.0"
  std::int64_t made_ms = 0;
};

Result<std::string> make_evidence(const Savings& savings,
                                  const SigningKey& key,
                                  const EvidenceStamp& stamp);

// A report whose signature is good.
struct Evidence {
  PublicKey signer{};
  std::string tool;
  std::string made;
  SavingsQuery query;         // what was asked of the ledger
  boost::json::value report;  // savings_json()
};

// kDataLoss: the signature does not match; kInvalidArgument: this is no such file.
Result<Evidence> read_evidence(std::string_view file);

// Computes the report from the ledger and compares every figure. kDataLoss names in `param` the
// first one that differs. The chain itself is verify()'s work.
Result<void> recompute_evidence(const Evidence& evidence, const store::Database& database);

// See above; kInvalidArgument for a number that is no integer.
Result<std::string> canonical_json(const boost::json::value& value);

}  // namespace genesis::ledger
