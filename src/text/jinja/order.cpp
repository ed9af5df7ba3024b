#include "text/jinja/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text::jinja {

namespace {

double as_real(const Value& value) {
  if (const double* d = value.get<double>()) {
    return *d;
  }
  const Int* i = value.get<Int>();
  return i != nullptr ? static_cast<double>(*i) : (*value.get<bool>() ? 1.0 : 0.0);
}

std::partial_ordering compare_numbers(const Value& a, const Value& b) {
  const Int* x = a.get<Int>();
  const Int* y = b.get<Int>();
  if (x != nullptr && y != nullptr) {
    return *x < *y ? std::partial_ordering::less
                   : (*x > *y ? std::partial_ordering::greater : std::partial_ordering::equivalent);
  }
  return as_real(a) <=> as_real(b);
}

}  // namespace

Result<std::partial_ordering> compare(Context& context, const Value& a, const Value& b) {
  GENESIS_TRY_VOID(context.spend(std::min(extent_of(a).weight, extent_of(b).weight)));
  if (a.is_number() && b.is_number()) {
    return compare_numbers(a, b);
  }
  const Text* left = a.as_text();
  const Text* right = b.as_text();
  if (left != nullptr && right != nullptr) {
    // Byte order of UTF-8 is code point order.
    return left->bytes <=> right->bytes;
  }
  const List* x = a.as_list();
  const List* y = b.as_list();
  if (x != nullptr && y != nullptr && x->tuple == y->tuple) {
    for (std::size_t i = 0; i < std::min(x->items.size(), y->items.size()); ++i) {
      if (!equal(x->items[i], y->items[i])) {
        return compare(context, x->items[i], y->items[i]);
      }
    }
    return x->items.size() <=> y->items.size();
  }
  if (a.is_undefined() || b.is_undefined()) {
    return undefined_error(a.is_undefined() ? a : b);
  }
  return template_error(
      fmt::format("values of type {} and {} have no order", type_name(a), type_name(b)));
}

// Merge sort: unlike std::sort it can stop at the first failing comparison, and it stays in bounds
// when NaN makes the order inconsistent.
Result<std::vector<std::size_t>> sorted_order(Context& context,
                                              const std::vector<Value>& keys,
                                              bool reverse) {
  std::vector<std::size_t> order(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
  }
  std::vector<std::size_t> merged(order.size());
  for (std::size_t width = 1; width < order.size(); width *= 2) {
    for (std::size_t begin = 0; begin < order.size(); begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, order.size());
      const std::size_t end = std::min(begin + 2 * width, order.size());
      std::size_t left = begin;
      std::size_t right = middle;
      for (std::size_t to = begin; to < end; ++to) {
        bool take_right = left == middle;
        if (left < middle && right < end) {
          GENESIS_TRY(const auto ordering, compare(context, keys[order[right]], keys[order[left]]));
          take_right = reverse ? ordering > 0 : ordering < 0;
        }
        merged[to] = take_right ? order[right++] : order[left++];
      }
    }
    order.swap(merged);
  }
  return order;
}

}  // namespace genesis::text::jinja
