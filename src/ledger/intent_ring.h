// IntentRing: a small file of fixed size, mapped shared, that takes a copy of each row before the
// call that asked for it returns. The kernel owns its pages, so what was copied survives kill -9
// without a system call; a power cut can lose what was not synced since. Rows of attempts that cost
// nothing until they end rely on the copy, reservations of paid attempts on the sync
// (ring_sync.h, docs/decisions/010-intent-ring.md).
//
// File: a header of one page (magic, slots, a random name, CRC-32), then slots of 512 bytes, each
// with a header of its own: CRC-32 over the rest and the ring's name, position, part number and
// count, length. A record takes one slot or several in a row; position p stands in slot p modulo
// the number of slots and nowhere else. So nothing points anywhere, no byte of a record's content
// stands where a header could be read from it, and a torn or flipped slot costs its own record
// only. A slot is one sector: what is written beside a synced one cannot tear it on a disk that
// writes sectors whole (SQLite asks the same of it).
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::ledger {

struct SlotHeader;

struct RingRecord {
  std::uint64_t position = 0;  // of its last slot
  std::string bytes;
};

// One thread at a time, except for sync().
class IntentRing {
 public:
  // As fdatasync(2); a test puts its own disk in place.
  using Sync = std::function<int(int)>;

  static constexpr std::size_t kSlotBytes = 512;
  // 8 MiB: more than a second of rows at 10,000 a second.
  static constexpr std::uint64_t kDefaultSlots = 16'384;

  // Makes the file, mode 0600, with its blocks allocated, if there is none. One that is not a ring
  // is set aside as <path>.damaged and a new one made. kConflict: another process holds it.
  static Result<std::unique_ptr<IntentRing>> open(const std::filesystem::path& path,
                                                  std::uint64_t slots = kDefaultSlots,
                                                  Sync sync = {});

  IntentRing(const IntentRing&) = delete;
  IntentRing& operator=(const IntentRing&) = delete;
  ~IntentRing();

  // 16 hexadecimal digits, drawn when the file was made.
  const std::string& name() const { return name_; }

  // Renames the file so that the next open() makes a new one.
  static Result<void> set_aside(const std::filesystem::path& path, std::string_view why);

  // Nothing was ever written to it.
  bool blank() const;

  // The whole records that the file holds after position `applied`, oldest first. Call once, before
  // the first append(). `lost_slots()` then tells how many positions among them are unreadable.
  std::vector<RingRecord> read_after(std::uint64_t applied);

  std::uint64_t lost_slots() const { return lost_slots_; }

  // A file that could not be read was set aside at open.
  bool replaced() const { return replaced_; }

  // The record's position, or kResourceExhausted when the ring is full or the record too large.
  Result<std::uint64_t> append(std::string_view bytes);
  // Everything up to `position` is durable elsewhere: its slots may be used again.
  void release(std::uint64_t position);

  // Every record appended before the call is durable after it. Safe beside append(); one thread at
  // a time. After a failure nothing is known of what is on the disk, now or after another sync.
  Result<void> sync();

  bool empty() const { return released_ == last_; }

 private:
  IntentRing(int fd, std::uint8_t* map, std::uint64_t slots, std::uint64_t id);
  static Result<std::unique_ptr<IntentRing>> map_file(const std::filesystem::path& path);
  std::uint8_t* slot(std::uint64_t position) const;
  std::uint32_t slot_checksum(const std::uint8_t* slot, std::size_t length) const;
  bool read_slot(const std::uint8_t* slot, SlotHeader& header) const;

  int fd_;
  std::uint8_t* map_;
  std::uint64_t slots_;
  std::uint64_t id_;
  std::string name_;
  Sync sync_;
  std::uint64_t last_ = 0;      // position of the newest slot
  std::uint64_t released_ = 0;  // positions up to here are free
  std::uint64_t lost_slots_ = 0;
  bool replaced_ = false;
};

}  // namespace genesis::ledger
