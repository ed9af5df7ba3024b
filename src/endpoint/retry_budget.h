// RetryBudget: how much extra work the whole gateway may have under way, so that an outage cannot
// multiply the load on what is left or double the bill.
//
// A retry at the same endpoint, a hedge and the replay of a cut stream on a paid endpoint ask
// first. Moving on to the next endpoint is never refused, for that is what a gateway is there for;
// when the failed attempt may be billed, though, it counts, and so leaves less for the others.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace genesis::endpoint {

// Envoy's shape and defaults (retry_budget of its circuit breakers).
struct RetryBudgetOptions {
  int percent = 20;  // of the requests that are active
  int floor = 3;     // so many are allowed however few requests are active
};

// Lives on the io thread. A permit may outlive the budget.
class RetryBudget {
  struct Counts {
    int active = 0;
    int extra = 0;
  };

 public:
  // A place in a count, given back on destruction.
  class Permit {
   public:
    Permit() = default;

    Permit(std::shared_ptr<Counts> counts, int Counts::* which)
        : counts_(std::move(counts)), which_(which) {
      ++((*counts_).*which_);
    }

    Permit(Permit&& other) noexcept = default;

    Permit& operator=(Permit&& other) noexcept {
      give_back();
      counts_ = std::move(other.counts_);
      which_ = other.which_;
      return *this;
    }

    Permit(const Permit&) = delete;
    Permit& operator=(const Permit&) = delete;

    ~Permit() { give_back(); }

   private:
    void give_back() {
      if (const auto counts = std::exchange(counts_, nullptr)) {
        --((*counts).*which_);
      }
    }

    std::shared_ptr<Counts> counts_;
    int Counts::* which_ = nullptr;
  };

  explicit RetryBudget(RetryBudgetOptions options) : options_(options) {}

  // For as long as a request is active.
  Permit request() { return {counts_, &Counts::active}; }

  // For as long as an extra attempt is under way; nullopt when too many are.
  std::optional<Permit> take() {
    if (counts_->extra >= std::max(options_.floor, counts_->active * options_.percent / 100)) {
      return std::nullopt;
    }
    return count();
  }

  // The same, for what is counted but never refused.
  Permit count() { return {counts_, &Counts::extra}; }

  int extra() const { return counts_->extra; }

 private:
  RetryBudgetOptions options_;
  std::shared_ptr<Counts> counts_ = std::make_shared<Counts>();
};

}  // namespace genesis::endpoint
