// Seal: SHA-256 of every page of the database file, kept beside it by the owner. In WAL mode the
// file changes only while a checkpoint runs, so a seal brought up to date after each one holds
// until the next; a page that differs is either in the log too (the owner died between the two) or
// damaged.
#pragma once

#include "base/result.h"
#include "base/sha256.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::store {

class SqliteConnection;

struct SealHeader {
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  std::uint64_t generation = 0;  // grows with each write of the seal
  std::int64_t commits = 0;      // the database's commit counter as of the sealed file
};

struct Seal {
  SealHeader header;
  std::vector<Digest> pages;  // header.page_count of them
};

struct SealedPage {
  std::uint32_t number = 0;  // from 1
  Digest digest{};
};

std::filesystem::path seal_path(const std::filesystem::path& database);

// nullopt: there is none. kDataLoss: it is damaged itself.
Result<std::optional<Seal>> load_seal(const std::filesystem::path& database);

// The same without the pages: little to read, however large the database is.
Result<std::optional<SealHeader>> load_seal_header(const std::filesystem::path& database);

// Writes the entries of `changed` pages, then the header, each made durable in this order.
Result<void> save_seal(const std::filesystem::path& database,
                       const SealHeader& header,
                       std::span<const SealedPage> changed);

// What an owner found wrong at its start, in words; empty: nothing, or nobody looked. It is kept in
// <database>.damage and stays until somebody removes that file: the next checkpoint writes and
// seals pages anew, and what was changed behind the owner's back could not be told any more.
Result<void> note_damage(const std::filesystem::path& database, std::string_view what);
Result<std::string> noted_damage(const std::filesystem::path& database);

// Hash of page `number` (from 1) of the database file.
Result<Digest> hash_page(const SqliteConnection& connection,
                         std::uint32_t number,
                         std::uint32_t page_size);

}  // namespace genesis::store
