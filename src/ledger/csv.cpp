#include "ledger/csv.h"

namespace genesis::ledger {

namespace {

// The first characters that make a cell a formula (OWASP, "CSV Injection").
constexpr std::string_view kFormula = "=+-@\t\r";

}  // namespace

void CsvWriter::plain(std::string_view digits) {
  if (need_comma_) {
    out_ += ',';
  }
  need_comma_ = true;
  out_ += digits;
}

void CsvWriter::text(std::string_view value) {
  std::string cell;
  if (!value.empty() && kFormula.contains(value.front())) {
    cell += '\'';
  }
  cell += value;
  if (cell.find_first_of(",\"\r\n") == std::string::npos) {
    plain(cell);
    return;
  }
  std::string quoted = "\"";
  for (const char c : cell) {
    quoted += c;
    if (c == '"') {
      quoted += '"';
    }
  }
  plain(quoted + "\"");
}

void CsvWriter::end_line() {
  out_ += "\r\n";
  need_comma_ = false;
}

}  // namespace genesis::ledger
