// A test's SQLite VFS that passes everything to the system's, fails the Nth write, sync or
// truncate, and lets an observer see what reaches each file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace genesis::store {

enum class FaultOperation { kWrite, kSync, kTruncate };

struct FaultPlan {
  FaultOperation operation = FaultOperation::kWrite;
  int result = 0;      // the SQLite result code to answer with
  int countdown = -1;  // fails when it reaches zero; below zero: never
  int repeat = 1;      // how many calls fail from then on
};

// Registers the VFS once per process and returns its name.
std::string fault_vfs_name();
void arm_fault(const FaultPlan& plan);
void disarm_fault();
// True when the armed fault has hit at least once.
bool fault_hit();

// One call that succeeded.
struct FileEvent {
  FaultOperation operation = FaultOperation::kWrite;
  std::string_view file;    // its whole path
  std::int64_t offset = 0;  // of a write; of a truncate the new size
  std::string_view bytes;   // of a write
};

// Called after each, on the thread that made the call. An empty function ends it.
void observe_files(std::function<void(const FileEvent&)> observer);

}  // namespace genesis::store
