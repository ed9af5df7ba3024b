// Order of Python package versions, as far as wheels carry them (PEP 440).
#pragma once

#include <string_view>

namespace genesis::hub {

// Negative, zero or positive: epoch, then release numbers, then dev < a < b < rc < final < post.
// Local parts ("+cpu") do not count; what is no version comes before every version.
int compare_versions(std::string_view a, std::string_view b);

// True for dev, alpha, beta and release-candidate versions.
bool is_pre_release(std::string_view version);

}  // namespace genesis::hub
