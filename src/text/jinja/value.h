// Values of the template language, with the semantics of the Python objects they stand for. All but
// namespaces and generators are immutable, as in jinja2's ImmutableSandboxedEnvironment.
#pragma once

#include "base/result.h"
#include "text/jinja/text.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace genesis::text::jinja {

// Python integers have no limit; 128 bits hold every 64-bit number of a JSON schema, and arithmetic
// that leaves them is an error.
__extension__ using Int = __int128;

struct List;
struct Dict;
struct Generator;
struct Namespace;
struct Callable;
struct Loop;

// What is missing, and what to say if something is asked of it.
struct Undefined {
  std::shared_ptr<const std::string> what;
};

struct None {};

class Value {
 public:
  using Data = std::variant<Undefined,
                            None,
                            bool,
                            Int,
                            double,
                            TextRef,
                            std::shared_ptr<const List>,
                            std::shared_ptr<const Dict>,
                            std::shared_ptr<Generator>,
                            std::shared_ptr<Namespace>,
                            std::shared_ptr<const Callable>,
                            std::shared_ptr<Loop>>;

  Value() = default;  // undefined

  Value(Data data) : data_(std::move(data)) {}

  static Value undefined(std::string what) {
    return Value(Data(Undefined{std::make_shared<const std::string>(std::move(what))}));
  }

  static Value none() { return Value(Data(None{})); }

  static Value boolean(bool b) { return Value(Data(b)); }

  static Value integer(Int i) { return Value(Data(i)); }

  static Value real(double d) { return Value(Data(d)); }

  static Value text(Text t) { return Value(Data(std::make_shared<const Text>(std::move(t)))); }

  static Value text(std::string_view own) { return text(own_text(own)); }

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&data_);
  }

  template <typename T>
  bool is() const {
    return std::holds_alternative<T>(data_);
  }

  const Text* as_text() const {
    const TextRef* ref = get<TextRef>();
    return ref != nullptr ? ref->get() : nullptr;
  }

  const List* as_list() const {
    const auto* ref = get<std::shared_ptr<const List>>();
    return ref != nullptr ? ref->get() : nullptr;
  }

  const Dict* as_dict() const {
    const auto* ref = get<std::shared_ptr<const Dict>>();
    return ref != nullptr ? ref->get() : nullptr;
  }

  bool is_undefined() const { return is<Undefined>(); }

  bool is_number() const { return is<bool>() || is<Int>() || is<double>(); }

  const Data& data() const { return data_; }

 private:
  Data data_;
};

// How big a value is when written out as a tree: `depth` levels of containers, `weight` nodes,
// where every 64 bytes of text count as one. A list that holds another twice weighs it twice, so
// weight bounds the work of printing and comparing.
struct Extent {
  std::size_t depth = 0;
  std::size_t weight = 1;

  // Makes room for one more member.
  void hold(const Value& member);
};

// A list, or a tuple (differs in printing and in comparing to lists).
struct List {
  std::vector<Value> items;
  bool tuple = false;
  Extent extent;
};

// Keeps insertion order. Keys are compared as Python does: 1 == 1.0 == True.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  std::vector<std::uint32_t> by_text;  // positions of text keys in byte order; for large ones only
  Extent extent;
  std::uint32_t message = kNoMessage;  // which message it is, or is part of

  const Value* find(std::string_view key) const;
  const Value* find(const Value& key) const;
};

// What filters like map() give: true even when empty, without length, gone after one pass. Python
// makes the members only when asked, so a failure to make one shows only to who gets that far.
struct Generator {
  std::vector<Value> items;
  std::optional<Error> failure;  // instead of the member after `items`
  std::size_t next = 0;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;

  Value* find(std::string_view name);
};

Extent extent_of(const Value& value);

Value make_list(std::vector<Value> items, bool tuple = false);
Value make_generator(std::vector<Value> items, std::optional<Error> failure = {});

// Later entries replace earlier ones with an equal key, at the earlier one's place.
class DictBuilder {
 public:
  void set(Value key, Value value);
  // Adds a key without value, for sets; false if it is there already.
  bool add(const Value& key);

  void set_message(std::uint32_t message) { dict_.message = message; }

  Value take();

 private:
  Value* find(const Value& key);

  Dict dict_;
  std::map<std::string_view, std::uint32_t> by_text_;  // views into the keys, which do not move
  std::vector<std::uint32_t> others_;                  // keys that are not text
};

bool truthy(const Value& value);
bool equal(const Value& a, const Value& b);
bool hashable(const Value& value);

// Python's type name, for messages.
std::string_view type_name(const Value& value);

std::string int_to_string(Int value);
// Shortest digits that read back the same, laid out as Python's repr(float).
std::string float_repr(double value);

}  // namespace genesis::text::jinja
