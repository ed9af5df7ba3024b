// Backend: what stands behind a Database, one class for each engine. Private to the room.
#pragma once

#include "base/result.h"
#include "store/database.h"
#include "store/work_queue.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::store {

// The members are those of Database of the same names.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual void submit(Job job) = 0;
  virtual Result<void> read(const Database::Work& work) const = 0;
  virtual Result<void> checkpoint() = 0;
  virtual bool is_owner() const = 0;
  virtual DatabaseStats stats() const = 0;

  // With one owner at a time there is nobody to tell apart.
  virtual const std::string& writer_name() const {
    static const std::string kNobody;
    return kNobody;
  }

  virtual Result<std::vector<std::string>> absent_writers(Transaction& /*tx*/) const {
    return std::vector<std::string>{};
  }

  virtual Result<void> forget_writer(Transaction& /*tx*/, std::string_view /*name*/) const {
    return {};
  }
};

Result<std::unique_ptr<Backend>> open_sqlite(DatabaseOptions options);
Result<std::unique_ptr<Backend>> open_postgres(DatabaseOptions options);

}  // namespace genesis::store
