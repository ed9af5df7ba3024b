// The certificate of a listener: TLS 1.2 and 1.3 with forward secrecy only, HTTP/1.1 over it.
#pragma once

#include "base/result.h"

#include <memory>
#include <string>

namespace genesis::net {

// Immutable; shared by the connections that were accepted while it was in force.
class ServerTls {
 public:
  // PEM files: the chain with the server's own certificate first, and its private key. kConfig,
  // naming the file, when one cannot be read or the two do not belong together.
  static Result<std::shared_ptr<const ServerTls>> load(const std::string& cert_file,
                                                       const std::string& key_file);
  ~ServerTls();
  ServerTls(const ServerTls&) = delete;
  ServerTls& operator=(const ServerTls&) = delete;

  // OpenSSL's context and the way to a socket, for this room only.
  struct Impl;

  const Impl& impl() const { return *impl_; }

 private:
  explicit ServerTls(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace genesis::net
