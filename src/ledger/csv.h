// CsvWriter: RFC 4180 lines. Text that a spreadsheet would run as a formula is quoted away with an
// apostrophe, because names in the ledger come from requests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace genesis::ledger {

class CsvWriter {
 public:
  void text(std::string_view value);

  void integer(std::int64_t value) { plain(std::to_string(value)); }

  // A number already written out, such as an amount.
  void plain(std::string_view digits);
  void end_line();

  std::string take() { return std::move(out_); }

 private:
  std::string out_;
  bool need_comma_ = false;
};

}  // namespace genesis::ledger
