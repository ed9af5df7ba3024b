// One accepted connection's side of TLS on a non-blocking socket: read and write as on the socket
// itself. Internal to this room.
#pragma once

#include "net/server_tls.h"

#include <boost/system/error_code.hpp>
#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace genesis::net {

// Lives on the io thread; the socket outlives it. The handshake happens in the first reads.
class TlsSession {
 public:
  TlsSession(std::shared_ptr<const ServerTls> tls, int socket);

  // Bytes taken or given; `error` is would_block where the socket has to be waited for, and eof at
  // the peer's proper end. A write that would block must be repeated with the same bytes.
  std::size_t read(std::span<char> into, boost::system::error_code& error);
  std::size_t write(std::string_view bytes, boost::system::error_code& error);
  // Bytes that read() would give without looking at the socket.
  bool pending() const;
  // Tells the peer that nothing more comes; without it a close reads as a cut.
  void say_goodbye();

 private:
  struct Free {
    void operator()(SSL* connection) const { SSL_free(connection); }
  };

  boost::system::error_code reason(int result) const;

  std::shared_ptr<const ServerTls> tls_;
  std::unique_ptr<SSL, Free> connection_;
};

}  // namespace genesis::net
