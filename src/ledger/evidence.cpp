#include "ledger/evidence.h"

#include "base/clock.h"
#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace genesis::ledger {

namespace {

constexpr std::string_view kFormat = "genesis savings report 1";
constexpr std::string_view kAlgorithm = "Ed25519";

Result<void> append_canonical(std::string& out, const boost::json::value& value);

Result<void> append_object(std::string& out, const boost::json::object& object) {
  std::vector<const boost::json::key_value_pair*> members;
  for (const auto& member : object) {
    members.push_back(&member);
  }
  std::ranges::sort(members, [](const auto* a, const auto* b) {
    return std::string_view(a->key()) < std::string_view(b->key());
  });
  out += '{';
  for (const auto* member : members) {
    out += member == members.front() ? "" : ",";
    append_json_string(out, member->key());
    out += ':';
    GENESIS_TRY_VOID(append_canonical(out, member->value()));
  }
  out += '}';
  return {};
}

// parse_json() has limited the depth.
Result<void> append_canonical(std::string& out, const boost::json::value& value) {
  switch (value.kind()) {
    case boost::json::kind::object:
      return append_object(out, value.get_object());
    case boost::json::kind::array: {
      out += '[';
      bool first = true;
      for (const boost::json::value& each : value.get_array()) {
        out += first ? "" : ",";
        first = false;
        GENESIS_TRY_VOID(append_canonical(out, each));
      }
      out += ']';
      return {};
    }
    case boost::json::kind::string:
      append_json_string(out, value.get_string());
      return {};
    case boost::json::kind::int64:
      out += std::to_string(value.get_int64());
      return {};
    case boost::json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      return {};
    case boost::json::kind::null:
      out += "null";
      return {};
    case boost::json::kind::uint64:
    case boost::json::kind::double_:
      break;
  }
  return fail(ErrorCode::kInvalidArgument, "a report holds no numbers but 64-bit integers");
}

std::unexpected<Error> no_report(std::string_view why) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("this is not a signed savings report: {}", why),
              "genesis savings --signed FILE makes one");
}

Result<std::string> text_at(const boost::json::object& object, std::string_view key) {
  GENESIS_TRY(auto value, get_string(object, key));
  if (!value) {
    return no_report(fmt::format("'{}' is missing", key));
  }
  return std::move(*value);
}

Result<std::int64_t> integer_at(const boost::json::object& object, std::string_view key) {
  GENESIS_TRY(const auto value, get_integer(object, key));
  if (!value) {
    return no_report(fmt::format("'{}' is missing", key));
  }
  return *value;
}

Result<const boost::json::object*> object_at(const boost::json::object& object,
                                             std::string_view key) {
  const boost::json::value* found = object.if_contains(key);
  if (found == nullptr || !found->is_object()) {
    return no_report(fmt::format("'{}' is missing", key));
  }
  return &found->get_object();
}

std::string signed_text(std::string_view canonical_payload) {
  return fmt::format("{}\n{}", kFormat, canonical_payload);
}

// What the report says it looked at.
Result<SavingsQuery> query_of(const boost::json::object& report) {
  SavingsQuery query;
  GENESIS_TRY(query.since_ms, integer_at(report, "since_ms"));
  GENESIS_TRY(query.until_ms, integer_at(report, "until_ms"));
  GENESIS_TRY(const boost::json::object* chain, object_at(report, "chain"));
  GENESIS_TRY(query.through_seq, integer_at(*chain, "through_row"));
  GENESIS_TRY(const std::string ratio, text_at(report, "baseline_token_ratio"));
  GENESIS_TRY(query.tokens, parse_token_ratio(ratio));
  GENESIS_TRY(const std::string by, text_at(report, "by"));
  const auto group = by.empty() ? GroupBy::kNothing : group_by_from_name(by);
  if (!group) {
    return no_report(fmt::format("it is grouped by '{}'", by));
  }
  query.by = *group;
  return query;
}

Result<Signature> signature_of(const boost::json::object& signature) {
  GENESIS_TRY(const std::string algorithm, text_at(signature, "algorithm"));
  GENESIS_TRY(const std::string value, text_at(signature, "value"));
  const auto bytes = from_base64(value);
  Signature out{};
  if (algorithm != kAlgorithm || !bytes || bytes->size() != out.size()) {
    return no_report("its signature is no Ed25519 signature");
  }
  std::ranges::copy(*bytes, out.begin());
  return out;
}

// Where two documents first differ, as "tiers[2].spend_nano_usd"; nullopt if they are equal.
std::optional<std::string> difference(const boost::json::value& a,
                                      const boost::json::value& b,
                                      const std::string& path) {
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, value] : a.get_object()) {
      const std::string at =
          path.empty() ? std::string(key) : fmt::format("{}.{}", path, std::string_view(key));
      const boost::json::value* other = b.get_object().if_contains(key);
      if (other == nullptr) {
        return at;
      }
      if (auto found = difference(value, *other, at)) {
        return found;
      }
    }
    return a.get_object().size() == b.get_object().size() ? std::nullopt : std::optional(path);
  }
  if (a.is_array() && b.is_array() && a.get_array().size() == b.get_array().size()) {
    for (std::size_t i = 0; i < a.get_array().size(); ++i) {
      if (auto found =
              difference(a.get_array()[i], b.get_array()[i], fmt::format("{}[{}]", path, i))) {
        return found;
      }
    }
    return std::nullopt;
  }
  return a == b ? std::nullopt : std::optional(path);
}

}  // namespace

Result<std::string> canonical_json(const boost::json::value& value) {
  std::string out;
  GENESIS_TRY_VOID(append_canonical(out, value));
  return out;
}

Result<std::string> make_evidence(const Savings& savings,
                                  const SigningKey& key,
                                  const EvidenceStamp& stamp) {
  JsonWriter w;
  w.begin_object();
  w.field("format", kFormat);
  w.field("tool", stamp.tool);
  w.field("made", format_rfc3339(stamp.made_ms));
  w.field_raw("report", savings_json(savings));
  w.end_object();
  GENESIS_TRY(const boost::json::value payload, parse_json(w.str()));
  GENESIS_TRY(const std::string canonical, canonical_json(payload));
  JsonWriter file;
  file.begin_object();
  file.field_raw("payload", canonical);
  file.key("signature");
  file.begin_object();
  file.field("algorithm", kAlgorithm);
  file.field("public_key", format_public_key(key.public_key()));
  file.field("value", to_base64(key.sign(signed_text(canonical))));
  file.end_object();
  file.end_object();
  return file.take() + "\n";
}

Result<Evidence> read_evidence(std::string_view text) {
  if (text.size() > kMaxEvidenceBytes) {
    return no_report("it is too long");
  }
  const auto file = parse_json(text);
  if (!file) {
    return no_report(file.error().message);
  }
  if (!file->is_object()) {
    return no_report("it is no JSON object");
  }
  GENESIS_TRY(const boost::json::object* payload, object_at(file->get_object(), "payload"));
  GENESIS_TRY(const boost::json::object* signed_by, object_at(file->get_object(), "signature"));
  GENESIS_TRY(const std::string key_text, text_at(*signed_by, "public_key"));
  Evidence evidence;
  GENESIS_TRY(evidence.signer, parse_public_key(key_text));
  GENESIS_TRY(const Signature signature, signature_of(*signed_by));
  GENESIS_TRY(const std::string canonical, canonical_json(*payload));
  if (!verify_signature(evidence.signer, signed_text(canonical), signature)) {
    return fail(ErrorCode::kDataLoss,
                "the signature does not match: the report was changed after it was signed",
                "ask for the original file");
  }
  GENESIS_TRY(const std::string format, text_at(*payload, "format"));
  if (format != kFormat) {
    return no_report(fmt::format("its format is '{}'", format));
  }
  GENESIS_TRY(evidence.tool, text_at(*payload, "tool"));
  GENESIS_TRY(evidence.made, text_at(*payload, "made"));
  GENESIS_TRY(const boost::json::object* report, object_at(*payload, "report"));
  GENESIS_TRY(evidence.query, query_of(*report));
  evidence.report = *report;
  return evidence;
}

Result<void> recompute_evidence(const Evidence& evidence, const store::Database& database) {
  GENESIS_TRY(const Savings savings, compute_savings(database, evidence.query));
  GENESIS_TRY(boost::json::value computed, parse_json(savings_json(savings)));
  boost::json::value told = evidence.report;
  // Sentences may be worded differently by another version of this program.
  computed.get_object().erase("method");
  told.get_object().erase("method");
  const auto where = difference(told, computed, "");
  if (!where) {
    return {};
  }
  return fail_param(*where,
                    fmt::format("the ledger does not bear out the report: '{}' differs", *where),
                    ErrorCode::kDataLoss);
}

}  // namespace genesis::ledger
