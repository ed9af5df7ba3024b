#include "app/drill.h"

#include "app/graph.h"
#include "base/file.h"
#include "base/random.h"
#include "ledger/rows.h"
#include "ledger/schema.h"
#include "store/database.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <map>

namespace genesis::app {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// How much longer than planned a return is waited for: the breaker's ejections double with every
// failed probe, and half a minute is their longest.
constexpr milliseconds kLongestReturn{35'000};
constexpr milliseconds kPoll{5};
constexpr milliseconds kStopGrace{2'000};
constexpr int kAnswerTokens = 24;

// A folder that goes away with its owner.
class ScratchFolder {
 public:
  static Result<std::unique_ptr<ScratchFolder>> make() {
    std::error_code error;
    std::string pattern = (fs::temp_directory_path(error) / "genesis-drill-XXXXXX").string();
    if (error || ::mkdtemp(pattern.data()) == nullptr) {
      return fail(ErrorCode::kIo, "cannot make a folder for the drill's ledger");
    }
    return std::make_unique<ScratchFolder>(pattern);
  }

  explicit ScratchFolder(fs::path path) : path_(std::move(path)) {}

  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// One request of the load, as its client saw it.
struct Sample {
  std::size_t phase = 0;
  std::string request_id;
  bool delivered = false;
  std::string served_by;
  std::int64_t first_ms = -1;
  std::string error;
};

class SampleSink final : public ChatSink {
 public:
  explicit SampleSink(CancelToken cancel) : cancel_(std::move(cancel)) {}

  Task<Result<void>> begin(const ServedBy& by) override {
    served = by;
    first = std::chrono::steady_clock::now();
    co_return Result<void>{};
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    text += delta.text;
    co_return Result<void>{};
  }

  CancelToken cancel_token() const override { return cancel_; }

  ServedBy served;
  SteadyTime first{};
  std::string text;

 private:
  CancelToken cancel_;
};

// The user's configuration with simulators for upstreams and a ledger of its own.
Config rehearsal_config(const Config& real,
                        const std::vector<net::Address>& addresses,
                        const fs::path& folder) {
  Config config = real;
  config.endpoints.clear();
  for (std::size_t i = 0; i < real.endpoints.size(); ++i) {
    const EndpointConfig& from = real.endpoints[i];
    const bool local = from.kind == EndpointKind::kLocal;
    EndpointConfig to{.name = from.name,
                      .kind = EndpointKind::kUrl,
                      .tier = from.tier,
                      .url = {.tls = false,
                              .address = addresses[i],
                              .path = "/v1",
                              .host_header = addresses[i].to_string()},
                      .model = from.model,
                      .price_model = from.price_model,
                      .price_input = from.price_input,
                      .price_cached_input = from.price_cached_input,
                      .price_output = from.price_output,
                      .price_per_hour = from.price_per_hour};
    if (local && to.price_per_hour.empty()) {
      to.price_per_hour = real.machine_usd_per_hour;
    }
    to.budgets = from.budgets;
    to.outlier = from.outlier;
    // Each outage meets the whole load on its tier, not the share that a tier coming back is given
    // after the outage before: that would show failing over as cheaper than it is.
    to.outlier.ramp = milliseconds(0);
    to.context = from.context;
    to.max_in_flight = from.max_in_flight;
    config.endpoints.push_back(std::move(to));
  }
  // Rehearsed requests have no place in the real ledger.
  config.ledger_path = folder / "genesis.db";
  config.database_url.clear();
  config.traces.max_requests = 0;
  return config;
}

// Owns the graph, the simulators and what was measured; lives on the loop's thread.
class Rehearsal {
 public:
  Rehearsal(const DrillPlan& plan, const std::function<void(std::string_view)>& on_phase)
      : plan_(plan), on_phase_(on_phase), returning_(plan.phases.size()) {}

  Result<void> prepare(const Config& real, const fs::path& folder);
  Result<void> run();

  const std::vector<std::unique_ptr<Sample>>& samples() const { return samples_; }

  // After each phase, -1 where the tier was not seen again.
  const std::vector<std::int64_t>& returns_ms() const { return returns_ms_; }

  const Config& config() const { return *config_; }

 private:
  Task<void> rehearse();
  Task<void> load(std::size_t phase, SteadyTime end, const std::function<bool()>& enough);
  Task<void> ask(Sample& sample);
  Task<void> settle();
  Task<void> wait_for_return(const DrillPhase& phase);
  Task<void> sleep(milliseconds time);
  void set(const std::vector<Tier>& tiers, Outage outage);
  bool serves(const std::vector<Tier>& tiers, std::size_t from) const;
  const DrillEndpoint* endpoint(std::string_view name) const;

  const DrillPlan& plan_;
  const std::function<void(std::string_view)>& on_phase_;
  const std::size_t returning_;  // the samples between phases
  boost::asio::io_context io_{1};
  std::shared_ptr<const Config> config_;
  Home home_;
  std::vector<std::unique_ptr<SimUpstream>> upstreams_;
  std::unique_ptr<Graph> graph_;
  std::vector<std::unique_ptr<Sample>> samples_;
  std::vector<std::int64_t> returns_ms_;
  CancelSource interrupted_;
  int open_ = 0;
  Error problem_;
  bool failed_ = false;
};

Result<void> Rehearsal::prepare(const Config& real, const fs::path& folder) {
  std::vector<net::Address> addresses;
  for (const DrillEndpoint& each : plan_.endpoints) {
    upstreams_.push_back(std::make_unique<SimUpstream>(io_.get_executor(),
                                                       SimOptions{.model = each.model,
                                                                  .first_token = each.first_token,
                                                                  .between = each.between,
                                                                  .tokens = kAnswerTokens}));
    GENESIS_TRY(net::Address address, upstreams_.back()->listen());
    addresses.push_back(std::move(address));
  }
  config_ = std::make_shared<const Config>(rehearsal_config(real, addresses, folder));
  home_ = {.config_file = {}, .data = folder, .models = folder, .run = folder};
  GENESIS_TRY(graph_, Graph::open(io_, config_, home_));
  return graph_->build([](std::string_view, std::int64_t, std::int64_t) {});
}

Result<void> Rehearsal::run() {
  boost::asio::signal_set signals(io_, SIGINT, SIGTERM);
  signals.async_wait([this](const boost::system::error_code& error, int) {
    if (!error) {
      interrupted_.cancel();
    }
  });
  graph_->start();
  const auto all = [&]() -> Task<void> {
    co_await rehearse();
    co_await settle();
    co_await graph_->stop(kStopGrace);
    for (const auto& upstream : upstreams_) {
      upstream->stop();
    }
    signals.cancel();
    io_.stop();
  };
  boost::asio::co_spawn(io_, all, boost::asio::detached);
  io_.run();
  graph_.reset();  // closes the ledger
  if (interrupted_.token().cancelled()) {
    return fail(ErrorCode::kCancelled, "the drill was interrupted");
  }
  return failed_ ? Result<void>(std::unexpected(problem_)) : Result<void>{};
}

Task<void> Rehearsal::rehearse() {
  for (std::size_t i = 0; i < plan_.phases.size() && !failed_; ++i) {
    const DrillPhase& phase = plan_.phases[i];
    on_phase_(phase.name);
    set(phase.down, phase.outage);
    co_await load(i, std::chrono::steady_clock::now() + phase.length, [] { return false; });
    // Requests that hang still belong to this outage, and what they teach the breakers, too.
    co_await settle();
    set(phase.down, Outage::kNone);
    returns_ms_.push_back(-1);
    if (phase.outage != Outage::kNone) {
      co_await wait_for_return(phase);
    }
    if (interrupted_.token().cancelled()) {
      co_return;
    }
  }
}

// Goes on with the load until the tier answers again, if it did when all was well.
Task<void> Rehearsal::wait_for_return(const DrillPhase& phase) {
  const SteadyTime healed = std::chrono::steady_clock::now();
  const std::size_t from = samples_.size();
  if (!serves(phase.down, 0)) {
    co_return;
  }
  co_await load(
      returning_, healed + phase.length + kLongestReturn, [&] { return serves(phase.down, from); });
  if (serves(phase.down, from)) {
    returns_ms_.back() =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - healed).count();
  }
  co_await settle();
}

// Paced: a request starts at its time whether the ones before it have ended or not.
Task<void> Rehearsal::load(std::size_t phase, SteadyTime end, const std::function<bool()>& enough) {
  const auto period = std::chrono::nanoseconds(std::chrono::seconds(1)) / plan_.rate;
  boost::asio::steady_timer timer(io_);
  SteadyTime next = std::chrono::steady_clock::now();
  while (next < end && !enough() && !interrupted_.token().cancelled()) {
    timer.expires_at(next);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    samples_.push_back(std::make_unique<Sample>(Sample{.phase = phase}));
    ++open_;
    boost::asio::co_spawn(io_, ask(*samples_.back()), boost::asio::detached);
    next += period;
  }
}

Task<void> Rehearsal::ask(Sample& sample) {
  ChatRequest request;
  request.id = new_id("req-");
  request.route = plan_.route;
  request.tenant = "default";
  request.key_id = "local";
  request.stream = true;
  request.sampling.max_tokens = kAnswerTokens * 2;
  const SteadyTime started = std::chrono::steady_clock::now();
  request.deadline = started + config_->budgets.total;
  auto input = std::make_shared<ChatInput>();
  input->messages.push_back({.role = "user", .content = "drill " + request.id});
  request.input = std::move(input);
  sample.request_id = request.id;
  SampleSink sink(interrupted_.token());
  const auto result = co_await graph_->chat().chat(request, sink);
  sample.served_by = sink.served.endpoint;
  if (!sample.served_by.empty()) {
    sample.first_ms = std::chrono::duration_cast<milliseconds>(sink.first - started).count();
  }
  if (!result) {
    sample.error = result.error().message;
  } else if (sink.text != sim_answer(sink.served.model, kAnswerTokens)) {
    sample.error = fmt::format("the answer of '{}' arrived changed", sample.served_by);
  } else {
    sample.delivered = true;
  }
  --open_;
}

Task<void> Rehearsal::settle() {
  while (open_ > 0) {
    co_await sleep(kPoll);
  }
}

Task<void> Rehearsal::sleep(milliseconds time) {
  boost::asio::steady_timer timer(io_, time);
  co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
}

void Rehearsal::set(const std::vector<Tier>& tiers, Outage outage) {
  for (std::size_t i = 0; i < upstreams_.size(); ++i) {
    if (std::ranges::count(tiers, plan_.endpoints[i].tier) == 0) {
      continue;
    }
    if (auto done = upstreams_[i]->set(outage); !done && !failed_) {
      failed_ = true;
      problem_ = std::move(done).error();
    }
  }
}

bool Rehearsal::serves(const std::vector<Tier>& tiers, std::size_t from) const {
  return std::any_of(
      samples_.begin() + static_cast<std::ptrdiff_t>(from), samples_.end(), [&](const auto& each) {
        const DrillEndpoint* by = endpoint(each->served_by);
        return each->delivered && by != nullptr && by->tier == tiers.front();
      });
}

const DrillEndpoint* Rehearsal::endpoint(std::string_view name) const {
  const auto at = std::ranges::find(plan_.endpoints, name, &DrillEndpoint::name);
  return at == plan_.endpoints.end() ? nullptr : &*at;
}

// The value below which `percent` of the sorted values lie (nearest rank).
std::int64_t percentile(const std::vector<std::int64_t>& sorted, std::size_t percent) {
  if (sorted.empty()) {
    return -1;
  }
  const std::size_t rank = (sorted.size() * percent + 99) / 100;
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

// What the drill's own ledger says about one request.
struct Booked {
  NanoUsd cost = 0;
  std::int64_t commercial = 0;
  std::int64_t unpriced = 0;
};

Result<std::map<std::string, Booked>> read_books(const fs::path& path) {
  GENESIS_TRY(
      const auto database,
      store::Database::open(
          {.path = path, .mode = store::OpenMode::kReadOnly, .schemas = {ledger::schema()}}));
  GENESIS_TRY(const auto rows, ledger::list_rows(*database, {}));
  std::map<std::string, Booked> books;
  for (const ledger::LedgerRow& row : rows) {
    Booked& booked = books[row.request_id];
    booked.commercial += row.kind == "reserve" && row.tier == "commercial" ? 1 : 0;
    booked.unpriced += row.kind == "quarantine" ? 1 : 0;
    if (row.kind == "post" || row.kind == "unconfirmed") {
      booked.cost += row.amount.value_or(0);
    }
  }
  return books;
}

void count(PhaseResult& result, const Sample& sample, const Booked& booked) {
  ++result.requests;
  result.delivered += sample.delivered ? 1 : 0;
  result.commercial += booked.commercial;
  result.cost += booked.cost;
  result.unpriced += booked.unpriced;
  if (!sample.delivered && result.first_error.empty()) {
    result.first_error = sample.error;
  }
}

PhaseResult judge(const DrillPlan& plan,
                  const DrillPhase& phase,
                  const std::vector<const Sample*>& samples,
                  const std::map<std::string, Booked>& books) {
  PhaseResult result{.phase = phase, .first_error = {}};
  std::vector<std::int64_t> lost_ms;
  for (const Sample* sample : samples) {
    const auto booked = books.find(sample->request_id);
    count(result, *sample, booked == books.end() ? Booked{} : booked->second);
    const auto by = std::ranges::find(plan.endpoints, sample->served_by, &DrillEndpoint::name);
    if (sample->delivered && by != plan.endpoints.end() && !phase.down.empty() &&
        std::ranges::count(phase.down, by->tier) == 0) {
      lost_ms.push_back(std::max<std::int64_t>(0, sample->first_ms - by->first_token.count()));
    }
  }
  std::ranges::sort(lost_ms);
  result.failovers = std::ssize(lost_ms);
  result.failover_p50_ms = percentile(lost_ms, 50);
  result.failover_p99_ms = percentile(lost_ms, 99);
  return result;
}

DrillReport make_report(const DrillPlan& plan,
                        const Rehearsal& rehearsal,
                        const std::map<std::string, Booked>& books) {
  DrillReport report{.plan = plan, .phases = {}};
  for (std::size_t i = 0; i <= plan.phases.size(); ++i) {
    std::vector<const Sample*> samples;
    for (const auto& sample : rehearsal.samples()) {
      if (sample->phase == i) {
        samples.push_back(sample.get());
      }
    }
    const bool between = i == plan.phases.size();
    PhaseResult result =
        judge(plan,
              between ? DrillPhase{.name = "coming back, after each", .down = {}} : plan.phases[i],
              samples,
              books);
    if (!between && i < rehearsal.returns_ms().size()) {
      result.return_ms = rehearsal.returns_ms()[i];
    }
    if (!report.phases.empty() && report.phases.front().requests > 0) {
      const PhaseResult& well = report.phases.front();
      result.extra_cost = result.cost - well.cost * result.requests / well.requests;
    }
    report.requests += result.requests;
    report.delivered += result.delivered;
    report.commercial += result.commercial;
    report.extra_cost += result.extra_cost;
    report.phases.push_back(std::move(result));
  }
  return report;
}

Result<std::string> write_evidence(const Home& home, DrillReport& report) {
  const fs::path folder = home.data / "drills";
  std::error_code error;
  fs::create_directories(folder, error);
  std::string stamp = format_rfc3339(report.started_unix_ms);
  std::erase_if(stamp, [](char c) { return c == ':' || c == '-' || c == '.'; });
  const fs::path file = folder / fmt::format("drill-{}.json", stamp);
  report.evidence = file.string();
  GENESIS_TRY_VOID(write_file_atomic(file, report_json(report) + "\n", 0600));
  return file.string();
}

}  // namespace

Result<DrillReport> run_drill(const Config& config,
                              const Home& home,
                              const DrillPlan& plan,
                              const std::function<void(std::string_view)>& on_phase) {
  const std::int64_t started = SystemClock().unix_ms();
  GENESIS_TRY(const auto scratch, ScratchFolder::make());
  Rehearsal rehearsal(plan, on_phase);
  GENESIS_TRY_VOID(rehearsal.prepare(config, scratch->path()));
  GENESIS_TRY_VOID(rehearsal.run());
  GENESIS_TRY(const auto books, read_books(rehearsal.config().ledger_path));
  DrillReport report = make_report(plan, rehearsal, books);
  report.started_unix_ms = started;
  if (config.commercial_cap) {
    router::ShareCapState cap{.requests = report.requests, .commercial = report.commercial};
    cap.allowed = std::max(config.commercial_cap->min_requests,
                           report.requests * config.commercial_cap->max_share_ppm / 1'000'000);
    cap.limited = config.commercial_cap->max_share_ppm < 1'000'000;
    report.cap = cap.to_string(*config.commercial_cap);
    report.cap_reached = cap.full();
  }
  GENESIS_TRY(report.evidence, write_evidence(home, report));
  return report;
}

}  // namespace genesis::app
