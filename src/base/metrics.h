// Counters, gauges and histograms with Prometheus text exposition
// (prometheus.io/docs/instrumenting/exposition_formats). Safe from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace genesis {

// A value that only grows (counter) or moves both ways (gauge).
class Metric {
 public:
  void add(double by = 1.0) { value_.fetch_add(by, std::memory_order_relaxed); }

  void set(double to) { value_.store(to, std::memory_order_relaxed); }

  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0.0};
};

// Cumulative buckets; bounds are fixed at creation, in the unit of the observed value.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);

  const std::vector<double>& bounds() const { return bounds_; }

  std::uint64_t bucket(std::size_t i) const { return counts_[i].load(std::memory_order_relaxed); }

  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;
  std::deque<std::atomic<std::uint64_t>> counts_;  // one more than bounds: +Inf
  std::atomic<double> sum_{0.0};
};

// Owns every series of a process part and prints them. References stay valid for its lifetime, so
// hot paths look a series up once and keep it.
class MetricsRegistry {
 public:
  // `labels` is the text inside the braces, e.g. `method="chat"`, made by prometheus_label().
  Metric& counter(std::string_view name, std::string_view help, std::string_view labels = {});
  Metric& gauge(std::string_view name, std::string_view help, std::string_view labels = {});
  Histogram& histogram(std::string_view name,
                       std::string_view help,
                       std::vector<double> bounds,
                       std::string_view labels = {});
  std::string expose() const;

 private:
  struct Family {
    std::string type;
    std::string help;
    std::map<std::string, std::unique_ptr<Metric>, std::less<>> values;
    std::map<std::string, std::unique_ptr<Histogram>, std::less<>> histograms;
  };

  Family& family(std::string_view name, std::string_view type, std::string_view help);
  Metric& metric(std::string_view name,
                 std::string_view type,
                 std::string_view help,
                 std::string_view labels);

  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;
};

// `key="value"` with the escapes Prometheus asks for.
std::string prometheus_label(std::string_view key, std::string_view value);

}  // namespace genesis
