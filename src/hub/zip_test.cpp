// The zip reader: what good archives give, and every lie refused.
#include "hub/zip.h"

#include "base/random.h"
#include "hub/test_support.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>

namespace genesis::hub {
namespace {

using testing::as_bytes;
using testing::ZipBuilder;

constexpr std::size_t kLimit = 1 << 20;

std::string text_of(const ZipArchive& archive, std::string_view name) {
  const ZipEntry* entry = archive.find(name);
  EXPECT_NE(entry, nullptr) << name;
  const auto text = entry == nullptr ? Result<std::string>("") : archive.read(*entry, kLimit);
  EXPECT_TRUE(text) << text.error().message;
  return text.value_or("");
}

TEST(Zip, GivesBackStoredAndDeflatedEntries) {
  ZipBuilder zip;
  const std::string long_text(300'000, 'z');
  zip.add("dir/a.txt", "hello", false);
  zip.add("b", "hello hello hello");
  zip.add("long", long_text + "!");
  zip.add("empty", "");
  zip.add("folder/", "", false);
  zip.comment = "a comment with PK\x05\x06 inside";
  const std::string bytes = zip.build();
  const auto archive = ZipArchive::open(as_bytes(bytes));
  ASSERT_TRUE(archive) << archive.error().message;
  EXPECT_EQ(archive->entries().size(), 5U);
  EXPECT_EQ(text_of(*archive, "dir/a.txt"), "hello");
  EXPECT_EQ(text_of(*archive, "b"), "hello hello hello");
  EXPECT_EQ(text_of(*archive, "empty"), "");
  EXPECT_EQ(text_of(*archive, "long"), long_text + "!");
  EXPECT_EQ(archive->find("absent"), nullptr);
}

TEST(Zip, ReadsZip64) {
  ZipBuilder zip;
  zip.zip64_end = true;
  zip.add("a", "first").zip64 = true;
  zip.add("b", "second");
  const std::string bytes = zip.build();
  const auto archive = ZipArchive::open(as_bytes(bytes));
  ASSERT_TRUE(archive) << archive.error().message;
  EXPECT_EQ(text_of(*archive, "a"), "first");
  EXPECT_EQ(text_of(*archive, "b"), "second");
}

TEST(Zip, RefusesToReadMoreThanTheLimit) {
  ZipBuilder zip;
  zip.add("a", "12345");
  const std::string bytes = zip.build();
  const auto archive = ZipArchive::open(as_bytes(bytes));
  ASSERT_TRUE(archive);
  EXPECT_TRUE(archive->read(*archive->find("a"), 5));
  EXPECT_FALSE(archive->read(*archive->find("a"), 4));
}

TEST(Zip, AnErrorOfTheSinkStopsTheExtraction) {
  ZipBuilder zip;
  zip.add("a", std::string(1'000'000, 'x'));
  const std::string bytes = zip.build();
  const auto archive = ZipArchive::open(as_bytes(bytes));
  ASSERT_TRUE(archive);
  int calls = 0;
  const auto done =
      archive->extract(archive->entries()[0], [&](std::span<const std::uint8_t>) -> Result<void> {
        ++calls;
        return fail(ErrorCode::kResourceExhausted, "disk full");
      });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(calls, 1);
}

using Member = ZipBuilder::Member;

// An archive of two entries whose second one is bent by `change`.
std::string bent(const std::function<void(Member&)>& change, bool deflate = true) {
  ZipBuilder zip;
  zip.add("first", "first content");
  change(zip.add("second", "some content, some content", deflate));
  return zip.build();
}

struct Lie {
  const char* name;
  std::string bytes;
  ErrorCode code = ErrorCode::kDataLoss;
};

std::vector<Lie> lies() {
  ZipBuilder more;
  more.add("a", "x");
  more.entry_count = 2;
  ZipBuilder fewer;
  fewer.add("a", "x");
  fewer.add("b", "x");
  fewer.entry_count = 1;
  const std::string good = bent([](Member&) {});
  std::string split = good;
  split[good.size() - 22 + 4] = 1;
  std::string moved = good;
  ++moved[good.size() - 22 + 16];
  return {
      {"empty", ""},
      {"not a zip", std::string(100, 'x')},
      {"bytes behind", good + "x"},
      {"bytes before", "x" + good},
      {"split", split, ErrorCode::kUnsupported},
      {"directory moved", moved},
      {"more entries than there are", more.build()},
      {"fewer entries than there are", fewer.build()},
      {"name twice", bent([](Member& m) { m.name = m.local_name = "first"; })},
      {"name differs locally", bent([](Member& m) { m.local_name = "other"; })},
      {"absolute name", bent([](Member& m) { m.name = m.local_name = "/etc/passwd"; })},
      {"name upwards", bent([](Member& m) { m.name = m.local_name = "a/../../b"; })},
      {"name with backslash", bent([](Member& m) { m.name = m.local_name = "a\\b"; })},
      {"name with drive", bent([](Member& m) { m.name = m.local_name = "c:x"; })},
      {"name with NUL", bent([](Member& m) { m.name = m.local_name = std::string("a\0b", 3); })},
      {"name empty", bent([](Member& m) { m.name = m.local_name = ""; })},
      {"name too long", bent([](Member& m) { m.name = m.local_name = std::string(2000, 'n'); })},
      {"encrypted", bent([](Member& m) { m.flags = 1; }), ErrorCode::kUnsupported},
      {"method 12", bent([](Member& m) { m.method = 12; }), ErrorCode::kUnsupported},
      {"bomb ratio", bent([](Member& m) { m.bytes = 0x7FFFFFFF; })},
      {"stored with two sizes", bent([](Member& m) { m.bytes += 1; }, false)},
      {"packed past the end", bent([](Member& m) { m.packed_bytes = 5000; })},
      {"packed into the directory", bent([](Member& m) { m.packed_bytes += 10; })},
      {"overlapping entries", bent([](Member& m) {
         m.name = m.local_name = "first2";
         m.header_at = 0;
       })},
      {"header past the end", bent([](Member& m) { m.header_at = 1 << 30; })},
      {"header inside data", bent([](Member& m) { m.header_at = 3; })},
      {"zip64 sizes missing", bent([](Member& m) { m.packed_bytes = 0xFFFFFFFF; })},
      {"zip64 size huge", bent([](Member& m) {
         m.zip64 = true;
         m.bytes = 1ULL << 62;
       })},
      {"zip64 packed huge", bent([](Member& m) {
         m.zip64 = true;
         m.packed_bytes = ~0ULL;
       })},
      {"zip64 place huge", bent([](Member& m) {
         m.zip64 = true;
         m.header_at = ~0ULL - 5;
       })},
  };
}

TEST(ZipHostile, LiesAreRefusedAtOpening) {
  for (const Lie& lie : lies()) {
    const auto archive = ZipArchive::open(as_bytes(lie.bytes));
    ASSERT_FALSE(archive) << lie.name;
    EXPECT_EQ(archive.error().code, lie.code) << lie.name << ": " << archive.error().message;
  }
  const std::string good = bent([](Member&) {});
  EXPECT_TRUE(ZipArchive::open(as_bytes(good)));
}

TEST(ZipHostile, WrongContentIsRefusedAtExtraction) {
  const std::vector<std::pair<const char*, std::string>> cases{
      {"checksum", bent([](Member& m) { ++m.crc; })},
      {"checksum of stored", bent([](Member& m) { ++m.crc; }, false)},
      {"unpacks to more", bent([](Member& m) { m.bytes -= 1; })},
      {"unpacks to less", bent([](Member& m) { m.bytes += 1; })},
      {"deflate cut", bent([](Member& m) {
         m.packed.pop_back();
         m.packed_bytes -= 1;
       })},
      {"bytes behind deflate", bent([](Member& m) {
         m.packed += "xx";
         m.packed_bytes += 2;
       })},
      {"not deflate", bent([](Member& m) { m.packed.assign(m.packed.size(), '\xFF'); })},
  };
  for (const auto& [name, bytes] : cases) {
    const auto archive = ZipArchive::open(as_bytes(bytes));
    ASSERT_TRUE(archive) << name << ": " << archive.error().message;
    const auto text = archive->read(*archive->find("second"), kLimit);
    ASSERT_FALSE(text) << name;
    EXPECT_EQ(text.error().code, ErrorCode::kDataLoss) << name;
    EXPECT_TRUE(archive->read(*archive->find("first"), kLimit)) << name;
  }
}

TEST(ZipHostile, ABombIsStoppedAtItsDeclaredSize) {
  ZipBuilder zip;
  auto& member = zip.add("bomb", std::string(5'000'000, '\0'));
  member.bytes = 1000;
  const std::string bytes = zip.build();
  const auto archive = ZipArchive::open(as_bytes(bytes));
  ASSERT_TRUE(archive);
  std::size_t given = 0;
  const auto done = archive->extract(archive->entries()[0],
                                     [&](std::span<const std::uint8_t> piece) -> Result<void> {
                                       given += piece.size();
                                       return {};
                                     });
  EXPECT_FALSE(done);
  EXPECT_LE(given, 1000U);
}

TEST(ZipHostile, MutantsAreReadOrRefusedButNeverCrash) {
  constexpr std::uint64_t kSeed = 20261125;
  Random random(kSeed);
  ZipBuilder zip;
  zip.zip64_end = true;
  zip.add("a/b.txt", "some text, some text, some text").zip64 = true;
  zip.add("stored", "plain", false);
  const std::string original = zip.build();
  int whole = 0;
  for (int i = 0; i < 5'000; ++i) {
    std::string mutant = original;
    for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
      mutant[random.below(mutant.size())] = static_cast<char>(random.next());
    }
    if (random.below(8) == 0) {
      mutant.resize(random.below(mutant.size()));
    }
    const auto archive = ZipArchive::open(as_bytes(mutant));
    if (!archive) {
      continue;
    }
    for (const ZipEntry& entry : archive->entries()) {
      const auto text = archive->read(entry, kLimit);
      whole += text ? 1 : 0;
    }
  }
  std::printf(
      "seed %llu: %d entries were still whole\n", static_cast<unsigned long long>(kSeed), whole);
  EXPECT_GT(whole, 0);
}

}  // namespace
}  // namespace genesis::hub
