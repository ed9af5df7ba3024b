// A test's SQLite VFS that passes everything to the system's and fails the Nth write, sync or
// truncate.
#pragma once

#include <atomic>
#include <string>

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

}  // namespace genesis::store
