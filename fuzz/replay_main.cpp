// Runs a fuzz target without libFuzzer: every file of a corpus folder, then fixed mutations of
// each.
//
//   fuzz_replay_NAME CORPUS_DIR [--seed N] [--mutations N] [--only FILE:MUTATION]
//
// A failure names the file and the mutation, and `--only` repeats exactly that one (0 = the file as
// it is). Seed and counts are fixed by default, so a run says the same each time.
#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif
#endif

namespace {

// Larger corpus files would make the replay slow; they belong into the unit tests.
constexpr std::size_t kMaxInput = 1 << 20;

struct Options {
  std::filesystem::path corpus;
  std::uint64_t seed = 1;
  std::uint64_t mutations = 400;
  std::string only;
};

struct Input {
  std::string name;
  std::string bytes;
};

// What is running now, for the crash handler, which may not allocate.
std::array<char, 512> current_text;
std::size_t current_size = 0;

void report_current() {
  constexpr std::string_view kIntro = "\nfuzz replay failed at: ";
  [[maybe_unused]] auto written = ::write(STDERR_FILENO, kIntro.data(), kIntro.size());
  written = ::write(STDERR_FILENO, current_text.data(), current_size);
}

extern "C" void on_signal(int signal) {
  report_current();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void report_crashes() {
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  __sanitizer_set_death_callback(report_current);
#else
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    std::signal(signal, on_signal);
  }
#endif
#endif
  std::signal(SIGABRT, on_signal);
}

// SplitMix64 (Steele, Lea, Flood 2014), as in base/random.h; here so that a target links its room
// only.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : next() % bound; }

 private:
  std::uint64_t state_;
};

// Overwrites up to eight bytes with a number that parsers tend to trip over.
void plant_number(std::string& bytes, std::size_t at, Random& random) {
  constexpr std::array<std::uint64_t, 8> kNumbers = {
      0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF};
  const std::uint64_t number = kNumbers[random.below(kNumbers.size())];
  const std::size_t width = std::size_t{1} << random.below(4);
  for (std::size_t i = 0; i < width && at + i < bytes.size(); ++i) {
    bytes[at + i] = static_cast<char>(number >> (8 * i));
  }
}

void mutate_once(std::string& bytes, const std::string& other, Random& random) {
  constexpr std::string_view kMarks = "{}[]\":,\\0-9eE\r\n %<>\x80\xFF";
  const std::size_t at = random.below(bytes.size());
  const std::size_t length = random.below(std::min<std::size_t>(bytes.size() - at, 64) + 1);
  switch (random.below(7)) {
    case 0:
      if (!bytes.empty()) {
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
      }
      break;
    case 1:
      plant_number(bytes, at, random);
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 4:
      bytes.resize(at);
      break;
    case 5:
      bytes.insert(at, 1, kMarks[random.below(kMarks.size())]);
      break;
    default:
      bytes.replace(at, length, other.substr(random.below(other.size()), length));
      break;
  }
}

std::string mutated(const std::vector<Input>& inputs,
                    std::size_t index,
                    std::uint64_t mutation,
                    const Options& options) {
  std::string bytes = inputs[index].bytes;
  Random random(options.seed * 1'000'003 + mutation * 7919 + index);
  const std::size_t steps = mutation == 0 ? 0 : 1 + random.below(4);
  for (std::size_t i = 0; i < steps; ++i) {
    mutate_once(bytes, inputs[random.below(inputs.size())].bytes, random);
  }
  bytes.resize(std::min(bytes.size(), kMaxInput));
  return bytes;
}

void run_one(const std::string& bytes) {
  // An allocation of exactly this size lets the sanitizer see one byte too far.
  const auto copy = std::make_unique<std::uint8_t[]>(bytes.size());
  std::ranges::copy(bytes, copy.get());
  LLVMFuzzerTestOneInput(copy.get(), bytes.size());
}

std::vector<Input> read_corpus(const std::filesystem::path& folder) {
  std::vector<Input> inputs;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    bytes.resize(std::min(bytes.size(), kMaxInput));
    inputs.push_back({entry.path().filename().string(), std::move(bytes)});
  }
  std::ranges::sort(inputs, {}, &Input::name);
  return inputs;
}

bool read_number(std::string_view text, std::uint64_t& out) {
  const auto end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, out);
  return read.ec == std::errc() && read.ptr == end;
}

bool read_options(int argc, char** argv, Options& options) {
  if (argc < 2 || argc % 2 != 0) {
    return false;
  }
  options.corpus = argv[1];
  for (int i = 2; i < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string_view value = argv[i + 1];
    if (name == "--only") {
      options.only = value;
    } else if (!(name == "--seed" && read_number(value, options.seed)) &&
               !(name == "--mutations" && read_number(value, options.mutations))) {
      return false;
    }
  }
  return true;
}

int replay(const Options& options) {
  const auto inputs = read_corpus(options.corpus);
  if (inputs.empty()) {
    std::fprintf(stderr, "no corpus in %s\n", options.corpus.c_str());
    return 1;
  }
  std::uint64_t runs = 0;
  for (std::size_t index = 0; index < inputs.size(); ++index) {
    for (std::uint64_t mutation = 0; mutation <= options.mutations; ++mutation) {
      const std::string place = inputs[index].name + ":" + std::to_string(mutation);
      if (!options.only.empty() && options.only != place) {
        continue;
      }
      const std::string text =
          place + " seed " + std::to_string(options.seed) + "; repeat with --only " + place + "\n";
      current_size = std::min(text.size(), current_text.size());
      std::copy_n(text.data(), current_size, current_text.data());
      run_one(mutated(inputs, index, mutation, options));
      ++runs;
    }
  }
  std::printf("%llu inputs from %zu corpus files, seed %llu: ok\n",
              static_cast<unsigned long long>(runs),
              inputs.size(),
              static_cast<unsigned long long>(options.seed));
  return runs == 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, options)) {
    std::fprintf(stderr,
                 "usage: %s CORPUS_DIR [--seed N] [--mutations N] [--only FILE:MUTATION]\n",
                 argv[0]);
    return 2;
  }
  report_crashes();
  return replay(options);
}
