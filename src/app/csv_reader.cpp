#include "app/csv_reader.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::app {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::unexpected<Error> bad_csv(std::size_t line, std::string_view what) {
  return fail_param(fmt::format("line {}", line), fmt::format("line {}: {}", line, what));
}

}  // namespace

CsvReader::CsvReader(std::string_view text) : text_(text) {
  if (text_.starts_with(kByteOrderMark)) {
    text_.remove_prefix(kByteOrderMark.size());
  }
  const std::string_view first = text_.substr(0, text_.find('\n'));
  for (const char candidate : {';', '\t'}) {
    if (std::ranges::count(first, candidate) > std::ranges::count(first, separator_)) {
      separator_ = candidate;
    }
  }
}

bool CsvReader::at_end_of_record() const {
  return at_ >= text_.size() || text_[at_] == '\n' || text_[at_] == '\r';
}

void CsvReader::end_record() {
  if (at_ < text_.size() && text_[at_] == '\r') {
    ++at_;
  }
  if (at_ < text_.size() && text_[at_] == '\n') {
    ++at_;
  }
  ++line_;
}

Result<bool> CsvReader::next(std::vector<std::string>& cells) {
  cells.clear();
  while (at_ < text_.size() && at_end_of_record()) {
    end_record();
  }
  if (at_ >= text_.size()) {
    return false;
  }
  record_line_ = line_;
  while (true) {
    GENESIS_TRY(std::string value, cell());
    cells.push_back(std::move(value));
    if (cells.size() > kMaxCsvColumns) {
      return bad_csv(record_line_, fmt::format("more than {} columns", kMaxCsvColumns));
    }
    if (at_end_of_record()) {
      end_record();
      return true;
    }
    if (text_[at_] != separator_) {
      return bad_csv(record_line_, "text after a closing quote");
    }
    ++at_;
  }
}

Result<std::string> CsvReader::cell() {
  if (at_ < text_.size() && text_[at_] == '"') {
    return quoted_cell();
  }
  const std::string_view rest = text_.substr(at_);
  const char ends[] = {separator_, '\n', '\r', '\0'};
  const std::size_t size = std::min(rest.find_first_of(std::string_view(ends, 4)), rest.size());
  if (size > kMaxCsvCell || (size < rest.size() && rest[size] == '\0')) {
    return bad_csv(record_line_, size > kMaxCsvCell ? "a cell is too long" : "a zero byte");
  }
  at_ += size;
  return std::string(rest.substr(0, size));
}

Result<std::string> CsvReader::quoted_cell() {
  std::string value;
  for (++at_; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '"') {
      if (at_ + 1 >= text_.size() || text_[at_ + 1] != '"') {
        ++at_;
        return value;
      }
      ++at_;
    }
    line_ += c == '\n' ? 1 : 0;
    value += c;
    if (value.size() > kMaxCsvCell) {
      return bad_csv(record_line_, "a cell is too long");
    }
  }
  return bad_csv(record_line_, "a quote is never closed");
}

}  // namespace genesis::app
