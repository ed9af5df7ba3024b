#include "base/random.h"

#include "base/check.h"
#include "base/clock.h"

#include <array>
#include <cerrno>
#include <sys/random.h>

namespace genesis {

void secure_random_bytes(std::span<std::uint8_t> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = getrandom(out.data() + done, out.size() - done, 0);
    GENESIS_CHECK(n > 0 || errno == EINTR);
    done += n > 0 ? static_cast<std::size_t>(n) : 0;
  }
}

std::string new_id(std::string_view prefix) {
  static constexpr std::string_view kCrockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::string id(prefix);
  const auto milliseconds = static_cast<std::uint64_t>(SystemClock().unix_ms());
  for (int shift = 45; shift >= 0; shift -= 5) {
    id.push_back(kCrockford[(milliseconds >> shift) & 31U]);
  }
  std::array<std::uint8_t, 16> noise{};
  secure_random_bytes(noise);
  for (const std::uint8_t byte : noise) {
    id.push_back(kCrockford[byte & 31U]);
  }
  return id;
}

}  // namespace genesis
