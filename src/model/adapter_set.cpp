#include "model/adapter_set.h"

#include <utility>

namespace genesis::model {

const Adapter* AdapterSet::Held::find(std::int32_t id) const {
  const auto at = map_->find(id);
  return at == map_->end() ? nullptr : at->second.get();
}

engine::AdapterInfo AdapterSet::add(std::shared_ptr<const Adapter> adapter) {
  engine::AdapterInfo info{.content_hash = adapter->content_hash,
                           .bytes = static_cast<std::int64_t>(adapter->memory.size()),
                           .max_rank = adapter->max_rank,
                           .invocation = adapter->invocation};
  const std::scoped_lock lock(mutex_);
  info.id = next_id_++;
  auto map = std::make_shared<Map>(*map_);
  map->emplace(info.id, std::move(adapter));
  map_ = std::move(map);
  return info;
}

void AdapterSet::remove(std::int32_t id) {
  std::shared_ptr<const Map> old;  // outlives the lock, so that memory is freed outside it
  const std::scoped_lock lock(mutex_);
  auto map = std::make_shared<Map>(*map_);
  map->erase(id);
  old = std::exchange(map_, std::move(map));
}

AdapterSet::Held AdapterSet::hold() const {
  const std::scoped_lock lock(mutex_);
  return Held(map_);
}

}  // namespace genesis::model
