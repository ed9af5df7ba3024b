// The adapters that an executor holds. Loading and unloading may happen during a step: a step works
// on what it held when it began.
#pragma once

#include "engine/runner.h"
#include "model/adapter.h"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace genesis::model {

// All members may be called from any thread.
class AdapterSet {
 public:
  using Map = std::map<std::int32_t, std::shared_ptr<const Adapter>>;

  // What was loaded at one moment, kept alive.
  class Held {
   public:
    explicit Held(std::shared_ptr<const Map> map) : map_(std::move(map)) {}

    // Null for id 0 and for what is not loaded.
    const Adapter* find(std::int32_t id) const;

   private:
    std::shared_ptr<const Map> map_;
  };

  engine::AdapterInfo add(std::shared_ptr<const Adapter> adapter);
  void remove(std::int32_t id);
  Held hold() const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Map> map_ = std::make_shared<const Map>();  // replaced, never changed
  std::int32_t next_id_ = 1;
};

}  // namespace genesis::model
