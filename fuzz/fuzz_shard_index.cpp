// Fuzz target: any bytes as model.safetensors.index.json beside two good shards: no crash, no file
// outside the folder, and a model that opens has each tensor once.
#include "base/check.h"
#include "weights/tensor_file.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string shard(std::string_view header, std::size_t data) {
  const std::uint64_t size = header.size();
  std::string out(sizeof(size), '\0');
  std::memcpy(out.data(), &size, sizeof(size));
  return out.append(header).append(std::string(data, '\1'));
}

// Made once; a fuzzing process keeps it until it ends.
const fs::path& folder() {
  static const fs::path path = [] {
    const fs::path made =
        fs::temp_directory_path() / ("genesis-fuzz-index-" + std::to_string(::getpid()));
    fs::create_directories(made);
    write(made / "a.safetensors",
          shard(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8));
    write(made / "b.safetensors",
          shard(R"({"y":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", 3));
    return made;
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fs::path index = folder() / "model.safetensors.index.json";
  write(index, {reinterpret_cast<const char*>(data), size});
  const auto file = genesis::weights::TensorFile::open(index);
  if (!file) {
    GENESIS_CHECK(!file.error().message.empty());
    return 0;
  }
  std::set<std::string> names;
  for (const auto& tensor : (*file)->tensors()) {
    GENESIS_CHECK(names.insert(tensor.name).second);
  }
  for (const fs::path& each : (*file)->files()) {
    GENESIS_CHECK(each.parent_path() == folder());
  }
  return 0;
}
