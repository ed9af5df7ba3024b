// Index pages (PEP 503, PEP 691), the choice of a wheel, RECORD lines.
#include "hub/package_index.h"

#include "base/json.h"
#include "base/sha256.h"
#include "hub/fetcher.h"
#include "hub/package_version.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>

namespace genesis::hub {

namespace {

constexpr std::size_t kMaxFiles = 100'000;

std::unexpected<Error> bad_page(std::string message) {
  return fail(ErrorCode::kUpstream, fmt::format("the package index answered with {}", message));
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

// A SHA-256 in hex, lower case; anything else counts as no hash at all.
std::string clean_sha256(std::string_view text) {
  const std::string hex = lowered(text);
  const bool good = hex.size() == 64 && std::ranges::all_of(hex, [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                    });
  return good ? hex : std::string();
}

Result<IndexFile> read_file_entry(const boost::json::value& value, std::string_view page_url) {
  const auto* object = value.if_object();
  if (object == nullptr) {
    return bad_page("a file entry that is no object");
  }
  GENESIS_TRY(const auto name, get_string(*object, "filename"));
  GENESIS_TRY(const auto url, get_string(*object, "url"));
  if (!name || !url) {
    return bad_page("a file entry without filename or url");
  }
  IndexFile file{.name = *name, .url = {}, .sha256 = {}, .bytes = 0, .yanked = false};
  GENESIS_TRY(file.url, resolve_url(page_url, *url));
  if (const auto* hashes = object->if_contains("hashes");
      hashes != nullptr && hashes->is_object()) {
    GENESIS_TRY(const auto sha256, get_string(hashes->get_object(), "sha256", "hashes."));
    file.sha256 = clean_sha256(sha256.value_or(""));
  }
  GENESIS_TRY(const auto bytes, get_integer(*object, "size"));
  file.bytes = std::max<std::int64_t>(bytes.value_or(0), 0);
  // PEP 691: false, true, or the reason as a string.
  const auto* yanked = object->if_contains("yanked");
  file.yanked =
      yanked != nullptr && (yanked->is_string() || (yanked->is_bool() && yanked->get_bool()));
  return file;
}

// The five entities that can occur in a URL or file name, and numeric ones.
std::string unescape_html(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, char>, 5> kNamed{
      {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}}};
  std::string out;
  while (!text.empty()) {
    const auto semicolon =
        text.front() == '&' ? text.substr(0, 10).find(';') : std::string_view::npos;
    if (semicolon == std::string_view::npos) {
      out.push_back(text.front());
      text.remove_prefix(1);
      continue;
    }
    std::string_view entity = text.substr(1, semicolon - 1);
    const auto* named =
        std::ranges::find(kNamed, entity, &std::pair<std::string_view, char>::first);
    if (named != kNamed.end()) {
      out.push_back(named->second);
    } else if (entity.starts_with('#')) {
      const bool hex = entity.size() > 1 && lower(entity[1]) == 'x';
      entity.remove_prefix(hex ? 2 : 1);
      unsigned code = 0;
      std::from_chars(entity.data(), entity.data() + entity.size(), code, hex ? 16 : 10);
      out.push_back(code > 0x20 && code < 0x7F ? static_cast<char>(code) : '?');
    } else {
      out.append(text.substr(0, semicolon + 1));
    }
    text.remove_prefix(semicolon + 1);
  }
  return out;
}

// The value of an attribute in a tag's text `a href="..." data-yanked`; nullopt when absent.
std::optional<std::string> attribute(std::string_view tag, std::string_view name) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::string folded = lowered(tag);
  for (std::size_t at = folded.find(name); at != std::string::npos;
       at = folded.find(name, at + 1)) {
    std::size_t after = at + name.size();
    const bool starts = at > 0 && kSpace.contains(folded[at - 1]);
    if (!starts || (after < tag.size() && !kSpace.contains(tag[after]) && tag[after] != '=')) {
      continue;
    }
    after = tag.find_first_not_of(kSpace, after);
    if (after == std::string_view::npos || tag[after] != '=') {
      return std::string();
    }
    after = tag.find_first_not_of(kSpace, after + 1);
    if (after == std::string_view::npos) {
      return std::string();
    }
    const char quote = tag[after];
    if (quote != '"' && quote != '\'') {
      return unescape_html(tag.substr(after, tag.find_first_of(kSpace, after) - after));
    }
    const auto end = tag.find(quote, after + 1);
    return unescape_html(
        tag.substr(after + 1, end == std::string_view::npos ? end : end - after - 1));
  }
  return std::nullopt;
}

// The parts of a wheel's name: name-version(-build)?-python-abi-platform.whl (PEP 427).
struct WheelName {
  std::string package;
  std::string version;
  std::string platform;
};

std::optional<WheelName> parse_wheel_name(std::string_view name) {
  if (!name.ends_with(".whl")) {
    return std::nullopt;
  }
  name.remove_suffix(4);
  std::vector<std::string_view> parts;
  for (;;) {
    const auto dash = name.find('-');
    parts.push_back(name.substr(0, dash));
    if (dash == std::string_view::npos) {
      break;
    }
    name.remove_prefix(dash + 1);
  }
  if (parts.size() != 5 && parts.size() != 6) {
    return std::nullopt;
  }
  return WheelName{.package = normalize_package_name(parts[0]),
                   .version = std::string(parts[1]),
                   .platform = std::string(parts.back())};
}

std::string hex_of_base64url(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    constexpr std::string_view kAlphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const auto digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) {
      return {};
    }
    bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xFFFFU;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<std::uint8_t>(bits >> held));
    }
  }
  return bytes.size() == 32 ? to_hex(bytes) : std::string();
}

// The fields of one CSV line; quotes as in RFC 4180.
std::vector<std::string> csv_fields(std::string_view line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back().push_back('"');
      ++i;
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back().push_back(line[i]);
    }
  }
  return fields;
}

}  // namespace

std::string normalize_package_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (!std::string_view("-_.").contains(c)) {
      out.push_back(lower(c));
    } else if (!out.ends_with('-')) {
      out.push_back('-');
    }
  }
  return out;
}

Result<std::vector<IndexFile>> parse_index_json(std::string_view body, std::string_view page_url) {
  const auto page = parse_json(body);
  if (!page || !page->is_object()) {
    return bad_page(page ? "JSON that is no object" : page.error().message);
  }
  const auto* list = page->get_object().if_contains("files");
  if (list == nullptr || !list->is_array() || list->get_array().size() > kMaxFiles) {
    return bad_page("JSON without a list of files");
  }
  std::vector<IndexFile> files;
  for (const auto& value : list->get_array()) {
    GENESIS_TRY(auto file, read_file_entry(value, page_url));
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::vector<IndexFile>> parse_index_html(std::string_view body, std::string_view page_url) {
  std::vector<IndexFile> files;
  const std::string folded = lowered(body);
  std::size_t close = 0;
  for (std::size_t at = folded.find("<a"); at != std::string::npos; at = folded.find("<a", close)) {
    close = folded.find('>', at);
    const auto end = close == std::string::npos ? close : folded.find("</a", close);
    if (end == std::string::npos || files.size() == kMaxFiles) {
      return bad_page("an HTML page that is cut or endless");
    }
    const std::string_view tag = body.substr(at + 1, close - at - 1);
    const auto href = attribute(tag, "href");
    if (!href || (tag.size() > 1 && !std::string_view(" \t\r\n").contains(tag[1]))) {
      continue;
    }
    GENESIS_TRY(const auto full, resolve_url(page_url, *href));
    const auto hash = full.find('#');
    IndexFile file{.name = unescape_html(body.substr(close + 1, end - close - 1)),
                   .url = full.substr(0, hash),
                   .sha256 = {},
                   .bytes = 0,
                   .yanked = attribute(tag, "data-yanked").has_value()};
    if (hash != std::string::npos &&
        std::string_view(full).substr(hash + 1).starts_with("sha256=")) {
      file.sha256 = clean_sha256(std::string_view(full).substr(hash + 8));
    }
    constexpr std::string_view kSpace = " \t\r\n";
    file.name.erase(0, std::min(file.name.find_first_not_of(kSpace), file.name.size()));
    file.name.erase(file.name.find_last_not_of(kSpace) + 1);
    files.push_back(std::move(file));
  }
  return files;
}

Result<ChosenWheel> choose_wheel(const std::vector<IndexFile>& files,
                                 std::string_view package,
                                 std::string_view version) {
  std::optional<ChosenWheel> best;
  std::set<std::string> versions;
  for (const IndexFile& file : files) {
    const auto name = parse_wheel_name(file.name);
    if (!name || name->package != package || name->platform != "any") {
      continue;
    }
    versions.insert(name->version);
    const bool pinned = !version.empty();
    if (pinned ? compare_versions(name->version, version) != 0
               : file.yanked || is_pre_release(name->version)) {
      continue;
    }
    if (!best || compare_versions(name->version, best->version) > 0) {
      best = ChosenWheel{.file = file, .version = name->version};
    }
  }
  if (!best) {
    const std::string have = versions.empty()
                                 ? "it has no wheels for any platform"
                                 : fmt::format("there are: {}", fmt::join(versions, ", "));
    return fail(ErrorCode::kNotFound,
                fmt::format("the package index has no usable wheel of {}{}{}",
                            package,
                            version.empty() ? "" : " ",
                            version),
                have);
  }
  if (best->file.sha256.empty()) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("the package index gives no SHA-256 for {}", best->file.name),
                "use an index that publishes hashes; without one the download cannot be verified");
  }
  return *std::move(best);
}

Result<std::vector<RecordLine>> parse_record(std::string_view text) {
  std::vector<RecordLine> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    line = line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
    if (line.empty()) {
      continue;
    }
    const auto fields = csv_fields(line);
    if (fields.size() < 3) {
      return fail(ErrorCode::kDataLoss, "the wheel's RECORD has a line without three fields");
    }
    constexpr std::string_view kScheme = "sha256=";
    RecordLine record{.path = fields[0], .sha256 = {}};
    if (fields[1].starts_with(kScheme)) {
      record.sha256 = hex_of_base64url(std::string_view(fields[1]).substr(kScheme.size()));
    }
    lines.push_back(std::move(record));
  }
  return lines;
}

}  // namespace genesis::hub
