#include "text/grammar/schema_formats.h"

#include <algorithm>
#include <array>

namespace genesis::text::grammar {

namespace {

// A day that exists (RFC 3339, section 5.7 and appendix C), in the years 1000 to 9999.
#define GENESIS_DATE                                                \
  "(?:[1-9]\\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|"  \
  "(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))|" \
  "(?:[1-9]\\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)"
#define GENESIS_TIME                                     \
  "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?" \
  "(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define GENESIS_OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define GENESIS_IPV4 GENESIS_OCTET "(?:\\." GENESIS_OCTET "){3}"
#define GENESIS_LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
// Without the special cases of a name that is a number (RFC 1123, section 2.1).
#define GENESIS_HOST GENESIS_LABEL "(?:\\." GENESIS_LABEL "){0,3}"
#define GENESIS_ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}"
// pchar of RFC 3986, section 3.3.
#define GENESIS_PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define GENESIS_QUERY "(?:\\?(?:" GENESIS_PCHAR "|[/?])*)?(?:#(?:" GENESIS_PCHAR "|[/?])*)?"
#define GENESIS_AUTHORITY \
  "//(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+@)?" GENESIS_HOST "(?::\\d{1,5})?"
#define GENESIS_URI                                                                           \
  "[A-Za-z][A-Za-z0-9+.-]*:(?:" GENESIS_AUTHORITY "(?:/" GENESIS_PCHAR "*)*|/?" GENESIS_PCHAR \
  "+(?:/" GENESIS_PCHAR "*)*)" GENESIS_QUERY
#define GENESIS_H16 "[0-9A-Fa-f]{1,4}"

struct Format {
  std::string_view name;
  std::string_view pattern;
};

constexpr std::array<Format, 22> kFormats = {{
    {"date", GENESIS_DATE},
    {"time", GENESIS_TIME},
    {"date-time", GENESIS_DATE "T" GENESIS_TIME},
    // ISO 8601 as RFC 3339, appendix A, writes it.
    {"duration",
     "P(?:\\d{1,9}W|(?:\\d{1,9}Y(?:\\d{1,9}M(?:\\d{1,9}D)?)?|\\d{1,9}M(?:\\d{1,9}D)?|\\d{1,9}D)"
     "(?:T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))?|"
     "T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))"},
    {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    {"email",
     GENESIS_ATOM "(?:\\." GENESIS_ATOM "){0,3}@" GENESIS_LABEL "(?:\\." GENESIS_LABEL "){1,3}"},
    {"idn-email",
     GENESIS_ATOM "(?:\\." GENESIS_ATOM "){0,3}@" GENESIS_LABEL "(?:\\." GENESIS_LABEL "){1,3}"},
    {"hostname", GENESIS_HOST},
    {"idn-hostname", GENESIS_HOST},
    {"ipv4", GENESIS_IPV4},
    // RFC 3986, section 3.2.2, without an IPv4 address as its end.
    {"ipv6",
     "(?:" GENESIS_H16 ":){7}" GENESIS_H16 "|(?:" GENESIS_H16 ":){1,7}:|(?:" GENESIS_H16
     ":){1,6}:" GENESIS_H16 "|(?:" GENESIS_H16 ":){1,5}(?::" GENESIS_H16 "){1,2}|(?:" GENESIS_H16
     ":){1,4}(?::" GENESIS_H16 "){1,3}|(?:" GENESIS_H16 ":){1,3}(?::" GENESIS_H16
     "){1,4}|(?:" GENESIS_H16 ":){1,2}(?::" GENESIS_H16 "){1,5}|" GENESIS_H16 ":(?::" GENESIS_H16
     "){1,6}|:(?:(?::" GENESIS_H16 "){1,7}|:)"},
    {"uri", GENESIS_URI},
    {"url", GENESIS_URI},
    {"iri", GENESIS_URI},
    {"uri-reference",
     "(?:" GENESIS_URI "|/?(?:" GENESIS_PCHAR "+(?:/" GENESIS_PCHAR "+)*)?" GENESIS_QUERY ")"},
    {"iri-reference",
     "(?:" GENESIS_URI "|/?(?:" GENESIS_PCHAR "+(?:/" GENESIS_PCHAR "+)*)?" GENESIS_QUERY ")"},
    {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
    {"relative-json-pointer", "(?:0|[1-9]\\d{0,3})(?:#|(?:/(?:[^~/]|~[01])*)*)"},
    // Of OpenAPI: how a text is shown or carried, not what it is.
    {"password", ""},
    {"byte", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},
    {"binary", ""},
    {"textarea", ""},
}};

#undef GENESIS_DATE
#undef GENESIS_TIME
#undef GENESIS_OCTET
#undef GENESIS_IPV4
#undef GENESIS_LABEL
#undef GENESIS_HOST
#undef GENESIS_ATOM
#undef GENESIS_PCHAR
#undef GENESIS_QUERY
#undef GENESIS_AUTHORITY
#undef GENESIS_URI
#undef GENESIS_H16

constexpr std::array<std::string_view, 4> kNumberFormats = {"int32", "int64", "float", "double"};

}  // namespace

std::optional<std::string_view> format_pattern(std::string_view name) {
  const auto found = std::ranges::find(kFormats, name, &Format::name);
  return found == kFormats.end() ? std::nullopt : std::optional(found->pattern);
}

bool is_number_format(std::string_view name) {
  return std::ranges::find(kNumberFormats, name) != kNumberFormats.end();
}

}  // namespace genesis::text::grammar
