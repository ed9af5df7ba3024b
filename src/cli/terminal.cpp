#include "cli/terminal.h"

#include "base/clock.h"
#include "base/json.h"
#include "cli/exit_codes.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <unistd.h>

namespace genesis::cli {

namespace {

bool use_colour(int fd) {
  // NOLINTBEGIN(concurrency-mt-unsafe): the command line is single-threaded here
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  // NOLINTEND(concurrency-mt-unsafe)
  const bool dumb = term != nullptr && std::string_view(term) == "dumb";
  return ::isatty(fd) != 0 && !dumb && (no_color == nullptr || *no_color == '\0');
}

// Names out of hostile files may carry escape sequences and broken characters; none reaches the
// terminal.
std::string printable(std::string_view text) {
  std::string quoted;
  append_json_string(quoted, text);  // replaces what is not UTF-8
  const auto clean = parse_json(quoted);
  return without_controls(clean ? std::string_view(clean->as_string()) : std::string_view());
}

}  // namespace

std::string without_controls(std::string_view utf8) {
  std::string out;
  out.reserve(utf8.size());
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    const bool c1 = c == 0xC2 && i + 1 < utf8.size() &&
                    static_cast<unsigned char>(utf8[i + 1]) < 0xA0;  // U+0080 to U+009F
    const bool c0 = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
    out.push_back(c0 || c1 ? '?' : utf8[i]);
    i += c1 ? 1 : 0;
  }
  return out;
}

int report(const Error& error) {
  const bool colour = use_colour(STDERR_FILENO);
  std::string text = fmt::format("{}error:{} {}\n",
                                 colour ? "\x1b[1;31m" : "",
                                 colour ? "\x1b[0m" : "",
                                 printable(error.message));
  if (!error.hint.empty()) {
    text += fmt::format("  next: {}\n", printable(error.hint));
  }
  std::fputs(text.c_str(), stderr);
  return exit_code_of(error.code);
}

std::string format_table(const std::vector<std::string>& header,
                         std::vector<std::vector<std::string>> rows) {
  for (std::vector<std::string>& row : rows) {
    for (std::string& cell : row) {
      cell = without_controls(cell);
      std::ranges::replace(cell, '\n', '?');
    }
  }
  std::vector<std::size_t> widths(header.size());
  const auto measure = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  };
  measure(header);
  std::ranges::for_each(rows, measure);
  std::string out;
  const auto append = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool last = i + 1 == row.size();
      out += last ? row[i] + "\n" : fmt::format("{:<{}}", row[i], widths[i] + 2);
    }
  };
  append(header);
  std::ranges::for_each(rows, append);
  return out;
}

std::string format_bytes(std::int64_t bytes) {
  constexpr std::int64_t kKibi = 1024;
  if (bytes >= kKibi * kKibi * kKibi) {
    return fmt::format("{:.1f} GiB",
                       static_cast<double>(bytes) / static_cast<double>(kKibi * kKibi * kKibi));
  }
  if (bytes >= kKibi * kKibi) {
    return fmt::format("{:.1f} MiB",
                       static_cast<double>(bytes) / static_cast<double>(kKibi * kKibi));
  }
  return bytes >= kKibi
             ? fmt::format("{:.1f} KiB", static_cast<double>(bytes) / static_cast<double>(kKibi))
             : fmt::format("{} B", bytes);
}

std::string format_age(std::int64_t unix_ms, std::int64_t now_ms) {
  const std::int64_t seconds = std::max<std::int64_t>(0, (now_ms - unix_ms) / 1000);
  const auto say = [](std::int64_t count, std::string_view unit) {
    return fmt::format("{} {}{} ago", count, unit, count == 1 ? "" : "s");
  };
  if (seconds < 60) {
    return say(seconds, "second");
  }
  if (seconds < 3'600) {
    return say(seconds / 60, "minute");
  }
  return seconds < 86'400 ? say(seconds / 3'600, "hour") : say(seconds / 86'400, "day");
}

Result<std::int64_t> parse_since(std::string_view text, std::int64_t now_ms) {
  std::int64_t count = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit(end.ptr,
                              static_cast<std::size_t>(text.data() + text.size() - end.ptr));
  const std::int64_t unit_ms = unit == "d"   ? 86'400'000
                               : unit == "h" ? 3'600'000
                               : unit == "m" ? 60'000
                               : unit == "s" ? 1'000
                                             : 0;
  if (end.ec == std::errc() && unit_ms != 0 && count >= 0 && count <= 1'000'000) {
    return now_ms - count * unit_ms;
  }
  std::tm date{};
  const std::string copy(text);
  const char* rest = ::strptime(copy.c_str(), "%Y-%m-%d", &date);
  if (rest != nullptr && *rest == '\0') {
    return static_cast<std::int64_t>(::timegm(&date)) * 1000;
  }
  return fail_param(
      "--since",
      fmt::format("cannot read '{}'; use 7d, 24h, 30m or a date such as 2026-11-01", text));
}

void print_out(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_answer(std::string_view text) {
  print_out(::isatty(STDOUT_FILENO) != 0 ? without_controls(text) : std::string(text));
}

void print_note(std::string_view text) {
  std::fputs((std::string(text) + "\n").c_str(), stderr);
}

void ProgressPrinter::update(std::string_view phase, std::int64_t done, std::int64_t total) {
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  if (phase != phase_) {
    finish();
    phase_ = phase;
    last_tenth_ = -1;
  }
  const int tenth = total > 0 ? static_cast<int>(10 * done / total) : 0;
  if (terminal) {
    const std::int64_t now = SystemClock().unix_ms();
    if (now - last_drawn_ms_ < 100 && done != total) {
      return;
    }
    last_drawn_ms_ = now;
    const int percent = total > 0 ? static_cast<int>(100 * done / total) : 0;
    std::fputs(
        fmt::format(
            "\r{} {:>3}%  {} of {}\x1b[K", phase, percent, format_bytes(done), format_bytes(total))
            .c_str(),
        stderr);
    line_open_ = true;
  } else if (tenth > last_tenth_) {
    print_note(fmt::format(
        "{} {}%  {} of {}", phase, tenth * 10, format_bytes(done), format_bytes(total)));
  }
  last_tenth_ = std::max(last_tenth_, tenth);
}

void ProgressPrinter::finish() {
  if (line_open_) {
    std::fputs("\n", stderr);
    line_open_ = false;
  }
}

}  // namespace genesis::cli
