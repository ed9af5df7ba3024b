// Requires-Dist lines and SHA256SUMS.
#include "hub/package_parts.h"

#include "hub/package_index.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::hub {

namespace {

constexpr std::size_t kMaxParts = 64;
constexpr std::string_view kSpace = " \t\r";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

bool is_version(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '+';
  });
}

}  // namespace

Result<PartedFile> parse_parts(std::string_view package,
                               std::string_view metadata,
                               std::string_view sums) {
  PartedFile out;
  for (const std::string_view line : lines_of(sums)) {
    // sha256sum's form: hash, two characters, name.
    if (line.size() > 66 && line.substr(66).find('/') == std::string_view::npos) {
      const std::string_view name = trimmed(line.substr(66));
      if (name.ends_with(".gguf") || name.ends_with(".safetensors")) {
        out.sha256 = line.substr(0, 64);
        out.name = name;
        break;
      }
    }
  }
  if (out.name.empty() || out.sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("package '{}' has no weights and no SHA256SUMS of any", package));
  }
  constexpr std::string_view kField = "Requires-Dist:";
  const std::string wanted = normalize_package_name(package) + "-part";
  for (const std::string_view line : lines_of(metadata)) {
    if (line.empty()) {
      break;  // the description follows
    }
    if (!line.starts_with(kField)) {
      continue;
    }
    const std::string_view requirement = trimmed(line.substr(kField.size()));
    const auto pin = requirement.find("==");
    const std::string name = normalize_package_name(trimmed(requirement.substr(0, pin)));
    if (!name.starts_with(wanted)) {
      continue;
    }
    const std::string_view version =
        pin == std::string_view::npos ? std::string_view() : trimmed(requirement.substr(pin + 2));
    if (!is_version(version)) {
      return fail(
          ErrorCode::kDataLoss,
          fmt::format("package '{}' does not pin the version of its part '{}'", package, name));
    }
    out.parts.push_back({.kind = SourceKind::kPackage,
                         .repository = name,
                         .file = {},
                         .revision = std::string(version)});
  }
  if (out.parts.size() < 2 || out.parts.size() > kMaxParts) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("package '{}' names {} parts of {}; 2 to {} are possible",
                            package,
                            out.parts.size(),
                            out.name,
                            kMaxParts));
  }
  return out;
}

}  // namespace genesis::hub
