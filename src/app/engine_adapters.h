// EngineAdapters: adapters of an engine process, loaded at start and while serving, in the wire
// form of vLLM's POST /v1/load_lora_adapter and /v1/unload_lora_adapter.
#pragma once

#include "api/catalog.h"
#include "base/result.h"
#include "base/task.h"
#include "engine/adapter_book.h"
#include "engine/engine.h"
#include "server/gateway.h"

#include <boost/asio/thread_pool.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

// Lives on the io thread; files are read on a thread of its own.
class EngineAdapters {
 public:
  // `engine` outlives this. `base` is the model's name.
  EngineAdapters(engine::Engine& engine, std::string base);

  const engine::AdapterBook& book() const { return book_; }

  // "NAME=FOLDER", before serving.
  Result<void> load_first(std::string_view named_folder);
  std::vector<ModelCard> cards() const;
  std::vector<server::AdminRoute> routes();

 private:
  Task<Result<std::string>> load(std::string body);
  Result<std::string> unload(std::string_view body);
  void enter(std::string name, std::string folder, engine::AdapterInfo info);

  engine::Engine& engine_;
  std::string base_;
  engine::AdapterBook book_;
  boost::asio::thread_pool readers_{1};
};

}  // namespace genesis::app
