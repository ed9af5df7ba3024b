// What the terminal gets: tables, errors, progress. Colour only on a terminal and without NO_COLOR.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::cli {

// Prints "error: what" and the hint on standard error; returns the exit code.
int report(const Error& error);

// Columns padded to their widest cell, control characters shown as '?'; the last column is not
// padded.
std::string format_table(const std::vector<std::string>& header,
                         std::vector<std::vector<std::string>> rows);

// "93.8 MiB"
std::string format_bytes(std::int64_t bytes);
// "3 minutes ago" relative to now.
std::string format_age(std::int64_t unix_ms, std::int64_t now_ms);

// "7d", "24h", "30m", "90s", or an RFC 3339 date "2026-11-01": unix milliseconds of that moment.
Result<std::int64_t> parse_since(std::string_view text, std::int64_t now_ms);

// Valid UTF-8 with every control character but newline and tab shown as '?': what a model or a file
// says must not command the terminal.
std::string without_controls(std::string_view utf8);

void print_out(std::string_view text);     // standard output, as it is
void print_answer(std::string_view text);  // the same, without controls where it is a terminal
void print_note(std::string_view text);    // standard error, one line

// Progress of a download on standard error: a moving line on a terminal, else a line per tenth.
class ProgressPrinter {
 public:
  void update(std::string_view phase, std::int64_t done, std::int64_t total);
  void finish();

 private:
  std::string phase_;
  int last_tenth_ = -1;
  std::int64_t last_drawn_ms_ = 0;
  bool line_open_ = false;
};

}  // namespace genesis::cli
