// CsvReader: RFC 4180 as spreadsheets write it (byte order mark, CRLF, quotes, commas, semicolons
// or tabs), record by record. Hostile input: sizes are limited and errors name the line.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

inline constexpr std::size_t kMaxCsvColumns = 512;
inline constexpr std::size_t kMaxCsvCell = 65'536;

class CsvReader {
 public:
  // `text` outlives the reader. The separator is the one of ",;\t" that the first line has most of.
  explicit CsvReader(std::string_view text);

  // The next record that is not an empty line; false at the end.
  Result<bool> next(std::vector<std::string>& cells);

  // Where the last record began, from 1.
  std::size_t line() const { return record_line_; }

 private:
  Result<std::string> cell();
  Result<std::string> quoted_cell();
  bool at_end_of_record() const;
  void end_record();

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t record_line_ = 0;
  char separator_ = ',';
};

}  // namespace genesis::app
