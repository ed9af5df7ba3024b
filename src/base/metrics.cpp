#include "base/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis {

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::observe(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<std::size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

MetricsRegistry::Family& MetricsRegistry::family(std::string_view name,
                                                 std::string_view type,
                                                 std::string_view help) {
  auto at = families_.find(name);
  if (at == families_.end()) {
    at = families_.emplace(std::string(name), Family{}).first;
    at->second.type = type;
    at->second.help = help;
  }
  return at->second;
}

Metric& MetricsRegistry::metric(std::string_view name,
                                std::string_view type,
                                std::string_view help,
                                std::string_view labels) {
  const std::scoped_lock lock(mutex_);
  auto& slot = family(name, type, help).values[std::string(labels)];
  if (!slot) {
    slot = std::make_unique<Metric>();
  }
  return *slot;
}

Metric& MetricsRegistry::counter(std::string_view name,
                                 std::string_view help,
                                 std::string_view labels) {
  return metric(name, "counter", help, labels);
}

Metric& MetricsRegistry::gauge(std::string_view name,
                               std::string_view help,
                               std::string_view labels) {
  return metric(name, "gauge", help, labels);
}

Histogram& MetricsRegistry::histogram(std::string_view name,
                                      std::string_view help,
                                      std::vector<double> bounds,
                                      std::string_view labels) {
  const std::scoped_lock lock(mutex_);
  auto& slot = family(name, "histogram", help).histograms[std::string(labels)];
  if (!slot) {
    slot = std::make_unique<Histogram>(std::move(bounds));
  }
  return *slot;
}

namespace {

void append_value(std::string& out, std::string_view name, std::string_view labels, double value) {
  if (labels.empty()) {
    fmt::format_to(std::back_inserter(out), "{} {}\n", name, value);
  } else {
    fmt::format_to(std::back_inserter(out), "{}{{{}}} {}\n", name, labels, value);
  }
}

void append_histogram(std::string& out,
                      const std::string& name,
                      const std::string& labels,
                      const Histogram& h) {
  const std::string comma = labels.empty() ? "" : labels + ",";
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i <= h.bounds().size(); ++i) {
    cumulative += h.bucket(i);
    const std::string bound = i < h.bounds().size() ? fmt::format("{}", h.bounds()[i]) : "+Inf";
    const std::string bucket_labels = fmt::format("{}le=\"{}\"", comma, bound);
    append_value(out, name + "_bucket", bucket_labels, static_cast<double>(cumulative));
  }
  append_value(out, name + "_sum", labels, h.sum());
  append_value(out, name + "_count", labels, static_cast<double>(cumulative));
}

}  // namespace

std::string MetricsRegistry::expose() const {
  const std::scoped_lock lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    fmt::format_to(std::back_inserter(out),
                   "# HELP {} {}\n# TYPE {} {}\n",
                   name,
                   family.help,
                   name,
                   family.type);
    for (const auto& [labels, metric] : family.values) {
      append_value(out, name, labels, metric->value());
    }
    for (const auto& [labels, histogram] : family.histograms) {
      append_histogram(out, name, labels, *histogram);
    }
  }
  return out;
}

std::string prometheus_label(std::string_view key, std::string_view value) {
  std::string out(key);
  out += "=\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') {
      out.push_back('\\');
    }
    if (c == '\n') {
      out += "\\n";
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

}  // namespace genesis
