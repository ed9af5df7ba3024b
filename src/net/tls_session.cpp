#include "net/tls_session.h"

#include <boost/asio/error.hpp>
#include <climits>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <sys/socket.h>

namespace genesis::net {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// TLS 1.2 with forward secrecy and authenticated encryption; those of 1.3 all have both.
constexpr const char* kCiphers12 = "ECDHE+AESGCM:ECDHE+CHACHA20";
// Names the sessions that may be resumed here; any constant does.
constexpr std::array<unsigned char, 7> kSessionContext = {'g', 'e', 'n', 'e', 's', 'i', 's'};
constexpr std::array<unsigned char, 9> kHttp11 = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

int socket_of(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

bool try_again(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

// OpenSSL's own socket BIO writes with write(2), which raises SIGPIPE when the peer is gone.
int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::send(socket_of(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && try_again(errno)) {
    BIO_set_retry_write(bio);
  }
  return static_cast<int>(n);
}

int bio_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::recv(socket_of(bio), data, static_cast<std::size_t>(size), 0);
  if (n < 0 && try_again(errno)) {
    BIO_set_retry_read(bio);
  }
  return static_cast<int>(n);
}

long bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int bio_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

int choose_http11(SSL*,
                  const unsigned char** out,
                  unsigned char* size,
                  const unsigned char* offered,
                  unsigned int offered_size,
                  void*) {
  unsigned char* chosen = nullptr;
  const int found =
      SSL_select_next_proto(&chosen, size, kHttp11.data(), kHttp11.size(), offered, offered_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

std::unexpected<Error> unusable(const std::string& what, const std::string& file) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return fail_param("server.tls",
                    fmt::format("{} {}: {}", what, file, reason == nullptr ? "unusable" : reason),
                    ErrorCode::kConfig);
}

}  // namespace

struct ServerTls::Impl {
  struct FreeContext {
    void operator()(SSL_CTX* owned) const { SSL_CTX_free(owned); }
  };

  struct FreeMethod {
    void operator()(BIO_METHOD* owned) const { BIO_meth_free(owned); }
  };

  bool make();

  std::unique_ptr<SSL_CTX, FreeContext> context;
  std::unique_ptr<BIO_METHOD, FreeMethod> method;
};

bool ServerTls::Impl::make() {
  context.reset(SSL_CTX_new(TLS_server_method()));
  method.reset(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket"));
  if (!context || !method) {
    return false;
  }
  BIO_meth_set_write(method.get(), bio_write);
  BIO_meth_set_read(method.get(), bio_read);
  BIO_meth_set_ctrl(method.get(), bio_control);
  BIO_meth_set_create(method.get(), bio_create);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context.get(), kCiphers12);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // An idle connection owns no buffers; a write may take a part, as on a plain socket.
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_id_context(context.get(), kSessionContext.data(), kSessionContext.size());
  SSL_CTX_set_alpn_select_cb(context.get(), choose_http11, nullptr);
  return true;
}

ServerTls::ServerTls(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ServerTls::~ServerTls() = default;

Result<std::shared_ptr<const ServerTls>> ServerTls::load(const std::string& cert_file,
                                                         const std::string& key_file) {
  ERR_clear_error();
  auto impl = std::make_unique<Impl>();
  if (!impl->make()) {
    return fail(ErrorCode::kResourceExhausted, "no memory for TLS");
  }
  SSL_CTX* const context = impl->context.get();
  if (SSL_CTX_use_certificate_chain_file(context, cert_file.c_str()) != 1) {
    return unusable("the certificate", cert_file);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable("the private key", key_file);
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return unusable("the private key does not belong to the certificate:", key_file);
  }
  return std::shared_ptr<const ServerTls>(new ServerTls(std::move(impl)));
}

TlsSession::TlsSession(std::shared_ptr<const ServerTls> tls, int socket)
    : tls_(std::move(tls)), connection_(SSL_new(tls_->impl().context.get())) {
  BIO* const bio = BIO_new(tls_->impl().method.get());
  if (!connection_ || bio == nullptr) {
    BIO_free(bio);
    connection_.reset();
    return;
  }
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket)));
  SSL_set_bio(connection_.get(), bio, bio);
  SSL_set_accept_state(connection_.get());
}

error_code TlsSession::reason(int result) const {
  switch (SSL_get_error(connection_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return asio::error::would_block;
    case SSL_ERROR_ZERO_RETURN:
      return asio::error::eof;
    default:
      return asio::error::connection_reset;
  }
}

std::size_t TlsSession::read(std::span<char> into, error_code& error) {
  if (!connection_) {
    error = asio::error::no_memory;
    return 0;
  }
  ERR_clear_error();
  const auto most = static_cast<int>(std::min<std::size_t>(into.size(), INT_MAX));
  const int n = SSL_read(connection_.get(), into.data(), most);
  error = n > 0 ? error_code() : reason(n);
  ERR_clear_error();
  return n > 0 ? static_cast<std::size_t>(n) : 0;
}

std::size_t TlsSession::write(std::string_view bytes, error_code& error) {
  if (!connection_) {
    error = asio::error::no_memory;
    return 0;
  }
  ERR_clear_error();
  const auto most = static_cast<int>(std::min<std::size_t>(bytes.size(), INT_MAX));
  const int n = SSL_write(connection_.get(), bytes.data(), most);
  error = n > 0 ? error_code() : reason(n);
  ERR_clear_error();
  return n > 0 ? static_cast<std::size_t>(n) : 0;
}

bool TlsSession::pending() const {
  return connection_ && SSL_has_pending(connection_.get()) == 1;
}

void TlsSession::say_goodbye() {
  if (connection_ && SSL_is_init_finished(connection_.get()) == 1) {
    ERR_clear_error();
    SSL_shutdown(connection_.get());
    ERR_clear_error();
  }
}

}  // namespace genesis::net
