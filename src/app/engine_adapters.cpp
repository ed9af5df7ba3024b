#include "app/engine_adapters.h"

#include "app/adapter_orders.h"
#include "base/json.h"
#include "base/log.h"
#include "server/fields.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <utility>

namespace genesis::app {

namespace {

constexpr std::size_t kMaxPath = 4096;

Result<std::string> required_text(const boost::json::object& object, std::string_view key) {
  GENESIS_TRY(auto text, get_string(object, key));
  if (!text || text->empty()) {
    return fail_param(std::string(key), fmt::format("'{}' is required", key));
  }
  return std::string(*text);
}

Result<void> check_folder(const std::string& folder) {
  std::error_code ignored;
  if (folder.size() > kMaxPath || !std::filesystem::is_directory(folder, ignored)) {
    auto error =
        fail_param("lora_path", fmt::format("'{}' is no folder", folder.substr(0, kMaxPath)));
    error.error().hint =
        "a folder with adapter_config.json and adapter_model.safetensors, on the "
        "engine's machine";
    return error;
  }
  return {};
}

// Whatever is wrong with the files is wrong with what the request named.
std::unexpected<Error> blame_folder(Error error) {
  if (error.code != ErrorCode::kUnsupported && error.code != ErrorCode::kResourceExhausted) {
    error.code = ErrorCode::kInvalidArgument;
  }
  if (!error.param.empty()) {
    error.message = fmt::format("{}: {}", error.param, error.message);
  }
  error.param = "lora_path";
  return std::unexpected(std::move(error));
}

std::string loaded_json(const engine::AdapterBook::Entry& entry) {
  JsonWriter w;
  w.begin_object();
  w.field("status", "loaded");
  w.field("lora_name", entry.name);
  w.field("sha256", entry.info.content_hash);
  w.field("rank", std::int64_t{entry.info.max_rank});
  w.field("bytes", entry.info.bytes);
  w.end_object();
  return w.take();
}

}  // namespace

EngineAdapters::EngineAdapters(engine::Engine& engine, std::string base)
    : engine_(engine), base_(std::move(base)) {}

Result<void> EngineAdapters::load_first(std::string_view named_folder) {
  const std::size_t equals = named_folder.find('=');
  if (equals == std::string_view::npos) {
    return fail_param("adapter", fmt::format("'{}' is not NAME=FOLDER", named_folder));
  }
  std::string name(named_folder.substr(0, equals));
  std::string folder(named_folder.substr(equals + 1));
  GENESIS_TRY_VOID(book_.check_name(name, base_, /*replace=*/false));
  GENESIS_TRY_VOID(check_folder(folder));
  GENESIS_TRY(auto info, engine_.load_adapter(folder));
  enter(std::move(name), std::move(folder), std::move(info));
  return {};
}

std::vector<ModelCard> EngineAdapters::cards() const {
  std::vector<ModelCard> cards;
  for (const auto& entry : book_.list()) {
    cards.push_back({.id = entry.name,
                     .owned_by = "genesis",
                     .created_unix = 0,
                     .max_context = engine_.info().max_context,
                     .sha256 = entry.info.content_hash,
                     .kind = "adapter"});
  }
  return cards;
}

std::vector<server::AdminRoute> EngineAdapters::routes() {
  return {{.method = "POST",
           .path = "/v1/load_lora_adapter",
           .handle = [this](const net::ServerRequest& request) { return load(request.body); }},
          {.method = "POST",
           .path = "/v1/unload_lora_adapter",
           .handle = [this](const net::ServerRequest& request) -> Task<Result<std::string>> {
             co_return unload(request.body);
           }}};
}

Task<Result<std::string>> EngineAdapters::load(std::string body) {
  GENESIS_CO_TRY(const auto object, server::parse_object(body));
  GENESIS_CO_TRY(std::string name, required_text(object, "lora_name"));
  GENESIS_CO_TRY(std::string folder, required_text(object, "lora_path"));
  GENESIS_CO_TRY(const auto in_place, get_bool(object, "load_inplace"));
  GENESIS_CO_TRY_VOID(book_.check_name(name, base_, in_place.value_or(false)));
  GENESIS_CO_TRY_VOID(check_folder(folder));
  auto read = [&engine = engine_, folder]() -> Task<Result<engine::AdapterInfo>> {
    co_return engine.load_adapter(folder);
  };
  auto loaded = co_await boost::asio::co_spawn(readers_, read, boost::asio::use_awaitable);
  if (!loaded) {
    co_return blame_folder(std::move(loaded).error());
  }
  engine::AdapterInfo info = *std::move(loaded);
  // Somebody else may have taken the name meanwhile.
  if (const auto free = book_.check_name(name, base_, in_place.value_or(false)); !free) {
    engine_.unload_adapter(info.id);
    co_return std::unexpected(free.error());
  }
  enter(name, std::move(folder), std::move(info));
  co_return loaded_json(*book_.find(name));
}

Result<std::string> EngineAdapters::unload(std::string_view body) {
  GENESIS_TRY(const auto object, server::parse_object(body));
  GENESIS_TRY(const std::string name, required_text(object, "lora_name"));
  const auto id = book_.take(name);
  if (!id) {
    return not_loaded(name);
  }
  engine_.unload_adapter(*id);
  log(LogLevel::kInfo, "adapter unloaded", {{"adapter", name}});
  return unloaded_json(name);
}

void EngineAdapters::enter(std::string name, std::string folder, engine::AdapterInfo info) {
  log(LogLevel::kInfo,
      "adapter loaded",
      {{"adapter", name},
       {"sha256", info.content_hash},
       {"rank", info.max_rank},
       {"bytes", info.bytes},
       {"activated", info.invocation.empty() ? "always" : "by its invocation"}});
  if (const auto before = book_.put(std::move(name), std::move(folder), std::move(info))) {
    engine_.unload_adapter(*before);
  }
}

}  // namespace genesis::app
