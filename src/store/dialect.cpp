// A scan over the text, token by token; no grammar is needed for these rules, as types are written
// in capitals and names are not.
#include "store/dialect.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace genesis::store {

namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// The token at the start of `rest`: a quoted text, a comment, a word, a parameter, or one
// character.
std::string_view next_token(std::string_view rest) {
  const char first = rest[0];
  const auto until = [&](std::string_view end, std::size_t from) {
    const std::size_t at = rest.find(end, from);
    return at == std::string_view::npos ? rest : rest.substr(0, at + end.size());
  };
  if (first == '\'' || first == '"') {
    // A doubled quote inside reads as two quoted texts side by side, which is as good.
    return until(rest.substr(0, 1), 1);
  }
  if (rest.starts_with("--")) {
    return until("\n", 2);
  }
  if (rest.starts_with("/*")) {
    return until("*/", 2);
  }
  std::size_t length = 1;
  while ((first == '?' || is_word(first)) && length < rest.size() && is_word(rest[length])) {
    ++length;
  }
  return rest.substr(0, length);
}

constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kTypes = {{
    {"INTEGER", "BIGINT"},
    {"BLOB", "BYTEA"},
    {"TEXT", "TEXT COLLATE \"C\""},
    {"WITHOUT", ""},
    {"ROWID", ""},
}};

std::string translate(std::string_view sql, bool types) {
  std::string out;
  out.reserve(sql.size() + 16);
  while (!sql.empty()) {
    const std::string_view token = next_token(sql);
    sql.remove_prefix(token.size());
    const auto* type =
        types ? std::ranges::find(kTypes, token, [](const auto& pair) { return pair.first; })
              : kTypes.end();
    if (type != kTypes.end()) {
      out += type->second;
    } else if (token.size() > 1 && token[0] == '?') {
      out += '$';
      out += token.substr(1);
    } else {
      out += token;
    }
  }
  return out;
}

}  // namespace

std::string postgres_query(std::string_view sql) {
  return translate(sql, false);
}

std::string postgres_migration(std::string_view sql) {
  return translate(sql, true);
}

}  // namespace genesis::store
