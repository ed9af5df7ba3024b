// The lines a starting process prints for people (terminal) or for programs (one JSON line).
#pragma once

#include "net/http.h"

#include <string>
#include <sys/types.h>
#include <vector>

namespace genesis::app {

struct ReadyEngine {
  std::string name;
  pid_t pid = 0;
};

struct ReadyGateway {
  std::string url;        // http://127.0.0.1:8080
  std::string admin_key;  // only at the first start, shown once
  std::string default_model;
  std::vector<ReadyEngine> engines;
  std::string isa;  // the kernel tier of the engines; empty without any
};

// One JSON line on standard output if that is not a terminal, else some lines for a person.
void print_gateway_ready(const ReadyGateway& ready);
// The JSON line only, and only if standard output is not a terminal.
void print_engine_ready(const net::Address& address,
                        const std::string& model,
                        const std::string& isa);

}  // namespace genesis::app
