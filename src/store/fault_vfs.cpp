// The shim: an sqlite3_file that holds the system's one right behind itself.
#include "store/fault_vfs.h"

#include <sqlite3.h>

#include <mutex>
#include <utility>

namespace genesis::store {

namespace {

struct State {
  std::mutex mutex;
  std::mutex observer_mutex;
  std::function<void(const FileEvent&)> observer;
  FaultPlan plan;
  bool hit = false;
};

State& state() {
  static State instance;
  return instance;
}

// SQLITE_OK, or the planned failure.
int turn(FaultOperation operation) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.plan.countdown < 0 || s.plan.operation != operation) {
    return SQLITE_OK;
  }
  if (s.plan.countdown > 0) {
    s.plan.countdown -= 1;
    return SQLITE_OK;
  }
  s.hit = true;
  s.plan.repeat -= 1;
  if (s.plan.repeat <= 0) {
    s.plan.countdown = -1;
  }
  return s.plan.result;
}

int tell(int result, const FileEvent& event) {
  State& s = state();
  const std::lock_guard lock(s.observer_mutex);
  if (result == SQLITE_OK && s.observer) {
    s.observer(event);
  }
  return result;
}

struct FaultFile {
  sqlite3_file base;
  const char* name;
  sqlite3_file* real;
};

sqlite3_file* real(sqlite3_file* file) {
  return reinterpret_cast<FaultFile*>(file)->real;
}

// SQLite keeps the name until the file is closed.
std::string_view name_of(sqlite3_file* file) {
  const char* name = reinterpret_cast<FaultFile*>(file)->name;
  return name != nullptr ? name : "";
}

const sqlite3_io_methods* methods(sqlite3_file* file) {
  return real(file)->pMethods;
}

int x_close(sqlite3_file* f) {
  return methods(f)->xClose(real(f));
}

int x_read(sqlite3_file* f, void* data, int n, sqlite3_int64 at) {
  return methods(f)->xRead(real(f), data, n, at);
}

int x_write(sqlite3_file* f, const void* data, int n, sqlite3_int64 at) {
  const int fault = turn(FaultOperation::kWrite);
  return tell(fault != SQLITE_OK ? fault : methods(f)->xWrite(real(f), data, n, at),
              {.operation = FaultOperation::kWrite,
               .file = name_of(f),
               .offset = at,
               .bytes = {static_cast<const char*>(data), static_cast<std::size_t>(n)}});
}

int x_truncate(sqlite3_file* f, sqlite3_int64 size) {
  const int fault = turn(FaultOperation::kTruncate);
  return tell(
      fault != SQLITE_OK ? fault : methods(f)->xTruncate(real(f), size),
      {.operation = FaultOperation::kTruncate, .file = name_of(f), .offset = size, .bytes = {}});
}

int x_sync(sqlite3_file* f, int flags) {
  const int fault = turn(FaultOperation::kSync);
  return tell(fault != SQLITE_OK ? fault : methods(f)->xSync(real(f), flags),
              {.operation = FaultOperation::kSync, .file = name_of(f), .offset = 0, .bytes = {}});
}

int x_size(sqlite3_file* f, sqlite3_int64* size) {
  return methods(f)->xFileSize(real(f), size);
}

int x_lock(sqlite3_file* f, int kind) {
  return methods(f)->xLock(real(f), kind);
}

int x_unlock(sqlite3_file* f, int kind) {
  return methods(f)->xUnlock(real(f), kind);
}

int x_reserved(sqlite3_file* f, int* out) {
  return methods(f)->xCheckReservedLock(real(f), out);
}

int x_control(sqlite3_file* f, int op, void* arg) {
  return methods(f)->xFileControl(real(f), op, arg);
}

int x_sector(sqlite3_file* f) {
  return methods(f)->xSectorSize(real(f));
}

int x_device(sqlite3_file* f) {
  return methods(f)->xDeviceCharacteristics(real(f));
}

int x_shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
  return methods(f)->xShmMap(real(f), page, size, extend, out);
}

int x_shm_lock(sqlite3_file* f, int offset, int n, int flags) {
  return methods(f)->xShmLock(real(f), offset, n, flags);
}

void x_shm_barrier(sqlite3_file* f) {
  methods(f)->xShmBarrier(real(f));
}

int x_shm_unmap(sqlite3_file* f, int remove) {
  return methods(f)->xShmUnmap(real(f), remove);
}

constexpr sqlite3_io_methods kMethods = {2,
                                         x_close,
                                         x_read,
                                         x_write,
                                         x_truncate,
                                         x_sync,
                                         x_size,
                                         x_lock,
                                         x_unlock,
                                         x_reserved,
                                         x_control,
                                         x_sector,
                                         x_device,
                                         x_shm_map,
                                         x_shm_lock,
                                         x_shm_barrier,
                                         x_shm_unmap,
                                         nullptr,
                                         nullptr};

sqlite3_vfs* system_vfs() {
  static sqlite3_vfs* const vfs = sqlite3_vfs_find("unix");
  return vfs;
}

int x_open(sqlite3_vfs* /*vfs*/, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* fault = reinterpret_cast<FaultFile*>(file);
  fault->base.pMethods = nullptr;
  fault->name = name;
  fault->real = reinterpret_cast<sqlite3_file*>(fault + 1);
  const int result = system_vfs()->xOpen(system_vfs(), name, fault->real, flags, out_flags);
  if (fault->real->pMethods != nullptr) {
    fault->base.pMethods = &kMethods;
  }
  return result;
}

}  // namespace

std::string fault_vfs_name() {
  static const bool registered = [] {
    static sqlite3_vfs vfs = *system_vfs();
    vfs.szOsFile += static_cast<int>(sizeof(FaultFile));
    vfs.zName = "genesis_fault";
    vfs.xOpen = x_open;
    vfs.pNext = nullptr;
    return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK;
  }();
  return registered ? "genesis_fault" : "";
}

void arm_fault(const FaultPlan& plan) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.plan = plan;
  s.hit = false;
}

void disarm_fault() {
  arm_fault({});
}

void observe_files(std::function<void(const FileEvent&)> observer) {
  State& s = state();
  const std::lock_guard lock(s.observer_mutex);
  s.observer = std::move(observer);
}

bool fault_hit() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return s.hit;
}

}  // namespace genesis::store
