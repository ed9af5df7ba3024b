// Events of libyaml to a tree.
#include "app/yaml.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <yaml.h>

namespace genesis::app {

namespace {

std::unexpected<Error> bad_yaml(std::size_t line, std::string_view what) {
  return fail_param(fmt::format("line {}", line), fmt::format("line {}: {}", line, what));
}

std::size_t line_of(const yaml_mark_t& mark) {
  return mark.line + 1;
}

std::string text_of(const unsigned char* text) {
  return text == nullptr ? "" : reinterpret_cast<const char*>(text);  // NOLINT
}

// One event, freed at the end of its scope.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  ~Event() { yaml_event_delete(&event_); }

  yaml_event_t* get() { return &event_; }

  const yaml_event_t* operator->() const { return &event_; }

  std::size_t line() const { return line_of(event_.start_mark); }

 private:
  yaml_event_t event_{};
};

class Reader {
 public:
  explicit Reader(std::string_view text) {
    ready_ = yaml_parser_initialize(&parser_) == 1;
    if (ready_) {
      yaml_parser_set_input_string(&parser_,
                                   reinterpret_cast<const unsigned char*>(text.data()),  // NOLINT
                                   text.size());
    }
  }

  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  ~Reader() {
    if (ready_) {
      yaml_parser_delete(&parser_);
    }
  }

  Result<YamlNode> document() {
    if (!ready_) {
      return fail(ErrorCode::kResourceExhausted, "no memory for a YAML parser");
    }
    while (true) {
      Event event;
      GENESIS_TRY_VOID(next(event));
      switch (event->type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_START_EVENT:
          continue;
        case YAML_STREAM_END_EVENT:
          return YamlNode{.line = 1};
        default:
          return node(event, 0);
      }
    }
  }

 private:
  Result<void> next(Event& event) {
    if (yaml_parser_parse(&parser_, event.get()) == 1) {
      return {};
    }
    return bad_yaml(line_of(parser_.problem_mark),
                    parser_.problem == nullptr ? "this is not YAML" : parser_.problem);
  }

  Result<void> count(const YamlNode& node, std::size_t more) {
    nodes_ += more;
    if (nodes_ > kMaxYamlNodes) {
      return bad_yaml(node.line, fmt::format("more than {} values", kMaxYamlNodes));
    }
    return {};
  }

  // The depth is limited, so is the recursion.
  Result<YamlNode> node(const Event& event, int depth) {  // NOLINT(misc-no-recursion)
    YamlNode out{.line = event.line()};
    if (depth > kMaxYamlDepth) {
      return bad_yaml(out.line, fmt::format("nested deeper than {}", kMaxYamlDepth));
    }
    GENESIS_TRY_VOID(count(out, 1));
    std::string anchor;
    switch (event->type) {
      case YAML_ALIAS_EVENT:
        return alias(out.line, text_of(event->data.alias.anchor));
      case YAML_SCALAR_EVENT:
        anchor = text_of(event->data.scalar.anchor);
        read_scalar(*event.operator->(), out);
        break;
      case YAML_SEQUENCE_START_EVENT:
        anchor = text_of(event->data.sequence_start.anchor);
        GENESIS_TRY_VOID(read_list(out, depth));
        break;
      case YAML_MAPPING_START_EVENT:
        anchor = text_of(event->data.mapping_start.anchor);
        GENESIS_TRY_VOID(read_map(out, depth));
        break;
      default:
        return bad_yaml(out.line, "a value is missing");
    }
    if (!anchor.empty()) {
      anchors_[anchor] = {out, nodes_in(out)};
    }
    return out;
  }

  static void read_scalar(const yaml_event_t& event, YamlNode& out) {
    const auto& scalar = event.data.scalar;
    out.scalar.assign(reinterpret_cast<const char*>(scalar.value), scalar.length);  // NOLINT
    const bool plain = scalar.style == YAML_PLAIN_SCALAR_STYLE;
    const bool nothing = out.scalar.empty() || out.scalar == "~" || out.scalar == "null";
    out.kind = plain && nothing ? YamlNode::Kind::kNull : YamlNode::Kind::kScalar;
  }

  Result<void> read_list(YamlNode& out, int depth) {  // NOLINT(misc-no-recursion)
    out.kind = YamlNode::Kind::kList;
    while (true) {
      Event event;
      GENESIS_TRY_VOID(next(event));
      if (event->type == YAML_SEQUENCE_END_EVENT) {
        return {};
      }
      GENESIS_TRY(YamlNode item, node(event, depth + 1));
      out.items.push_back(std::move(item));
    }
  }

  Result<void> read_map(YamlNode& out, int depth) {  // NOLINT(misc-no-recursion)
    out.kind = YamlNode::Kind::kMap;
    std::vector<YamlNode> merged;
    while (true) {
      Event key;
      GENESIS_TRY_VOID(next(key));
      if (key->type == YAML_MAPPING_END_EVENT) {
        break;
      }
      if (key->type != YAML_SCALAR_EVENT) {
        return bad_yaml(key.line(), "a key must be plain text");
      }
      YamlNode name{.line = key.line()};
      read_scalar(*key.operator->(), name);
      Event value;
      GENESIS_TRY_VOID(next(value));
      GENESIS_TRY(YamlNode member, node(value, depth + 1));
      if (out.members.size() + merged.size() >= kMaxYamlMembers) {
        return bad_yaml(name.line, fmt::format("more than {} keys", kMaxYamlMembers));
      }
      if (name.scalar == "<<") {
        merged.push_back(std::move(member));
      } else if (out.find(name.scalar) != nullptr) {
        return bad_yaml(name.line, fmt::format("the key '{}' occurs twice", name.scalar));
      } else {
        out.members.emplace_back(std::move(name.scalar), std::move(member));
      }
    }
    for (const YamlNode& each : merged) {
      merge(out, each);
    }
    return {};
  }

  // "<<": what the other map has and this one has not.
  static void merge(YamlNode& out, const YamlNode& from) {
    for (const auto& [key, value] : from.members) {
      if (out.find(key) == nullptr) {
        out.members.emplace_back(key, value);
      }
    }
  }

  Result<YamlNode> alias(std::size_t line, const std::string& name) {
    const auto at = anchors_.find(name);
    if (at == anchors_.end()) {
      return bad_yaml(line, fmt::format("the alias '*{}' stands for nothing before it", name));
    }
    YamlNode copy{.line = line};
    GENESIS_TRY_VOID(count(copy, at->second.nodes));
    return at->second.node;
  }

  static std::size_t nodes_in(const YamlNode& node) {  // NOLINT(misc-no-recursion)
    std::size_t nodes = 1;
    for (const YamlNode& item : node.items) {
      nodes += nodes_in(item);
    }
    for (const auto& [key, value] : node.members) {
      nodes += nodes_in(value);
    }
    return nodes;
  }

  struct Anchored {
    YamlNode node;
    std::size_t nodes = 0;
  };

  yaml_parser_t parser_{};
  bool ready_ = false;
  std::size_t nodes_ = 0;
  std::map<std::string, Anchored> anchors_;
};

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& [name, value] : members) {
    if (name == key) {
      return &value;
    }
  }
  return nullptr;
}

std::string YamlNode::text(std::string_view key) const {
  const YamlNode* member = find(key);
  return member != nullptr && member->is_scalar() ? member->scalar : "";
}

Result<YamlNode> parse_yaml(std::string_view text) {
  if (text.size() > kMaxYamlBytes) {
    return fail(ErrorCode::kPayloadTooLarge,
                fmt::format("the file is larger than {} MiB", kMaxYamlBytes >> 20));
  }
  return Reader(text).document();
}

}  // namespace genesis::app
