// Reads genesis.toml over the option table. The only file that sees toml++.
#include <fmt/format.h>
#define TOML_EXCEPTIONS 0
#include "app/options.h"

#include <toml++/toml.h>

namespace genesis::app {

namespace {

// Reads one table (the root, an [[endpoint]], a [[route]] ...) against its options.
class TableReader {
 public:
  TableReader(std::span<const OptionSpec> specs, std::string_view file, OptionMap& out)
      : specs_(specs), file_(file), out_(out) {}

  // `spec_prefix` is "" or "server." inside the option table; `key_prefix` what the map's keys get.
  Result<void> read(const toml::table& table,
                    const std::string& spec_prefix,
                    const std::string& key_prefix) {
    for (const auto& [name, node] : table) {
      const std::string key = spec_prefix + std::string(name.str());
      if (const OptionSpec* spec = find(key); spec != nullptr && spec->type == OptionType::kTable) {
        GENESIS_TRY_VOID(own_names(*spec, node, key_prefix + key + "."));
      } else if (spec != nullptr) {
        GENESIS_TRY(out_[key_prefix + key], value(*spec, node));
      } else if (node.is_table() && is_section(key)) {
        GENESIS_TRY_VOID(read(*node.as_table(), key + ".", key_prefix));
      } else if (!(spec_prefix.empty() && is_list_of_tables(key))) {
        return unknown(key, name.source().begin.line);
      }
    }
    return {};
  }

 private:
  static bool is_list_of_tables(std::string_view key) {
    return key == "endpoint" || key == "route" || key == "agent" || key == "budget" ||
           key == "adapter";
  }

  const OptionSpec* find(std::string_view key) const {
    for (const OptionSpec& spec : specs_) {
      const std::string_view prefix = spec.key.substr(0, spec.key.size() - 1);
      if (spec.key == key || (is_name_table(spec) && key.starts_with(prefix))) {
        return &spec;
      }
    }
    return nullptr;
  }

  bool is_section(const std::string& key) const {
    for (const OptionSpec& spec : specs_) {
      if (spec.key.starts_with(key + ".")) {
        return true;
      }
    }
    return false;
  }

  std::string at(const toml::node& node) const {
    return fmt::format("{}:{}", file_, node.source().begin.line);
  }

  std::unexpected<Error> unknown(const std::string& key, std::uint32_t line) const {
    std::vector<std::string> known;
    for (const OptionSpec& spec : specs_) {
      if (!is_name_table(spec)) {
        known.emplace_back(spec.key);
      }
      known.emplace_back(spec.key.substr(0, spec.key.find('.')));
    }
    auto error = fail_param(
        key, fmt::format("{}:{}: unknown key '{}'", file_, line, key), ErrorCode::kConfig);
    const std::string near = nearest(key, known);
    if (near == key) {
      error.error().hint = fmt::format("'{}' is a table: write [{}] above its keys", key, key);
      return error;
    }
    error.error().hint = near.empty() ? "genesis config show lists all keys"
                                      : fmt::format("did you mean '{}'?", near);
    return error;
  }

  std::unexpected<Error> wrong_type(const OptionSpec& spec,
                                    const toml::node& node,
                                    std::string_view must) const {
    return fail_param(std::string(spec.key),
                      fmt::format("{}: '{}' must be {}", at(node), spec.key, must),
                      ErrorCode::kConfig);
  }

  Result<OptionValue> value(const OptionSpec& spec, const toml::node& node) const {
    switch (spec.type) {
      case OptionType::kInteger:
        if (!node.is_integer()) {
          return wrong_type(spec, node, "an integer");
        }
        return read_option(spec, fmt::format("{}", node.as_integer()->get()), at(node));
      case OptionType::kBool:
        if (!node.is_boolean()) {
          return wrong_type(spec, node, "true or false");
        }
        return read_option(spec, node.as_boolean()->get() ? "true" : "false", at(node));
      case OptionType::kList:
        return list(spec, node);
      case OptionType::kSecret:
        return secret(spec, node);
      case OptionType::kUsd:
        if (!node.is_string()) {
          return wrong_type(spec, node, "a decimal in quotes, such as \"2.50\"");
        }
        return read_option(spec, node.as_string()->get(), at(node));
      case OptionType::kString:
      case OptionType::kChoice:
      case OptionType::kTable:
        break;
    }
    if (!node.is_string()) {
      return wrong_type(spec, node, "a string");
    }
    return read_option(spec, node.as_string()->get(), at(node));
  }

  // A table whose keys the writer chooses.
  Result<void> own_names(const OptionSpec& spec,
                         const toml::node& node,
                         const std::string& prefix) const {
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      return wrong_type(spec, node, "a table, such as { name = \"value\" }");
    }
    for (const auto& [name, item] : *table) {
      const OptionSpec entry{.key = spec.key,
                             .type = item.is_table() ? OptionType::kSecret : OptionType::kString,
                             .fallback = {},
                             .doc = {}};
      GENESIS_TRY(out_[prefix + std::string(name.str())], value(entry, item));
    }
    return {};
  }

  Result<OptionValue> list(const OptionSpec& spec, const toml::node& node) const {
    OptionValue value{.type = spec.type, .text = {}, .list = {}, .origin = at(node)};
    const toml::array* array = node.as_array();
    if (array == nullptr) {
      return wrong_type(spec, node, "a list of strings");
    }
    for (const toml::node& item : *array) {
      if (!item.is_string()) {
        return wrong_type(spec, node, "a list of strings");
      }
      value.list.push_back(item.as_string()->get());
    }
    return value;
  }

  // Kept as "env:X" or "file:path"; the secret itself is read when the graph is built.
  Result<OptionValue> secret(const OptionSpec& spec, const toml::node& node) const {
    const toml::table* table = node.as_table();
    if (table != nullptr && table->size() == 1) {
      for (const std::string_view how : {"env", "file"}) {
        if (const auto* where = table->get_as<std::string>(how)) {
          return OptionValue{.type = spec.type,
                             .text = fmt::format("{}:{}", how, where->get()),
                             .list = {},
                             .origin = at(node)};
        }
      }
    }
    return wrong_type(
        spec,
        node,
        "{ env = \"NAME\" } or { file = \"path\" }; secrets are not written into the file");
  }

  std::span<const OptionSpec> specs_;
  std::string_view file_;
  OptionMap& out_;
};

Result<void> read_tables(const toml::table& root,
                         std::string_view name,
                         std::span<const OptionSpec> specs,
                         std::string_view file,
                         OptionMap& out) {
  const toml::node* node = root.get(name);
  if (node == nullptr) {
    return {};
  }
  const toml::array* array = node->as_array();
  if (array == nullptr || !array->is_array_of_tables()) {
    return fail_param(
        std::string(name),
        fmt::format("{}:{}: write [[{}]], once for each", file, node->source().begin.line, name),
        ErrorCode::kConfig);
  }
  TableReader reader(specs, file, out);
  for (std::size_t i = 0; i < array->size(); ++i) {
    const std::string prefix = fmt::format("{}[{}].", name, i);
    // The line of the table itself, for messages about what is missing in it.
    out[prefix] =
        OptionValue{.type = OptionType::kString,
                    .text = {},
                    .list = {},
                    .origin = fmt::format("{}:{}", file, array->get(i)->source().begin.line)};
    GENESIS_TRY_VOID(reader.read(*array->get(i)->as_table(), "", prefix));
  }
  return {};
}

}  // namespace

Result<OptionMap> read_config_text(std::string_view text, std::string_view file_name) {
  const toml::parse_result parsed = toml::parse(text, file_name);
  if (!parsed) {
    const auto& error = parsed.error();
    return fail_param(
        std::string(file_name),
        fmt::format("{}:{}: {}", file_name, error.source().begin.line, error.description()),
        ErrorCode::kConfig);
  }
  OptionMap out;
  GENESIS_TRY_VOID(TableReader(general_options(), file_name, out).read(parsed.table(), "", ""));
  GENESIS_TRY_VOID(read_tables(parsed.table(), "endpoint", endpoint_options(), file_name, out));
  GENESIS_TRY_VOID(read_tables(parsed.table(), "route", route_options(), file_name, out));
  GENESIS_TRY_VOID(read_tables(parsed.table(), "adapter", adapter_options(), file_name, out));
  GENESIS_TRY_VOID(read_tables(parsed.table(), "agent", agent_options(), file_name, out));
  GENESIS_TRY_VOID(read_tables(parsed.table(), "budget", budget_options(), file_name, out));
  return out;
}

}  // namespace genesis::app
