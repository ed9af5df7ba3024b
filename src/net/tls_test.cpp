// TLS with a certificate made here: accepted for its host, refused for another host, another
// issuer, an expired date, and a connection cut without TLS's own end mark.
#include "net/client.h"
#include "net/net_fixture.h"

#include <boost/asio/detached.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <unistd.h>

namespace genesis::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

struct Certificate {
  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key{EVP_EC_gen("P-256"), EVP_PKEY_free};
  std::unique_ptr<X509, void (*)(X509*)> x509{X509_new(), X509_free};
};

// Self-signed, for `names` such as "DNS:localhost,IP:127.0.0.1".
Certificate make_certificate(const std::string& names, long valid_seconds) {
  Certificate made;
  X509* const x = made.x509.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  X509_gmtime_adj(X509_getm_notBefore(x), -1000);
  X509_gmtime_adj(X509_getm_notAfter(x), valid_seconds);
  X509_set_pubkey(x, made.key.get());
  X509_NAME* const name = X509_get_subject_name(x);
  const unsigned char text[] = "genesis test";
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
  X509_set_issuer_name(x, name);
  X509V3_CTX context;
  X509V3_set_ctx(&context, x, x, nullptr, nullptr, 0);
  for (const auto& [kind, value] : {std::pair<int, std::string>{NID_subject_alt_name, names},
                                    {NID_basic_constraints, "critical,CA:TRUE"}}) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(x, made.key.get(), EVP_sha256());
  return made;
}

class TlsTest : public NetTest {  // NOLINT(cppcoreguidelines-virtual-class-destructor)
 protected:
  TlsTest() : ca_file_("/tmp/genesis_tls_test_" + std::to_string(::getpid()) + ".pem") {}

  ~TlsTest() override {
    acceptor_.reset();
    ::unlink(ca_file_.c_str());
  }

  void serve(const std::string& names, long valid_seconds = 1000, bool clean_end = true) {
    const Certificate certificate = make_certificate(names, valid_seconds);
    SSL_CTX_use_certificate(context_.native_handle(), certificate.x509.get());
    SSL_CTX_use_PrivateKey(context_.native_handle(), certificate.key.get());
    std::FILE* const file = std::fopen(ca_file_.c_str(), "w");
    ASSERT_NE(file, nullptr);
    PEM_write_X509(file, certificate.x509.get());
    std::fclose(file);
    acceptor_.emplace(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    asio::co_spawn(io_, accept(clean_end), asio::detached);
  }

  Task<void> accept(bool clean_end) {
    for (;;) {
      tcp::socket socket = co_await acceptor_->async_accept(asio::use_awaitable);
      asio::co_spawn(io_, answer(std::move(socket), clean_end), asio::detached);
    }
  }

  Task<void> answer(tcp::socket socket, bool clean_end) {
    asio::ssl::stream<tcp::socket> stream(std::move(socket), context_);
    co_await stream.async_handshake(asio::ssl::stream_base::server, asio::use_awaitable);
    ++handshakes_;
    for (;;) {
      asio::streambuf head;
      co_await asio::async_read_until(stream, head, "\r\n\r\n", asio::use_awaitable);
      const std::string reply = clean_end ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                                          : "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok";
      co_await asio::async_write(stream, asio::buffer(reply), asio::use_awaitable);
      if (!clean_end) {
        co_return;
      }
    }
  }

  std::string ask(Client& client, const std::string& host) {
    ClientRequest request;
    request.method = "GET";
    const auto port = acceptor_->local_endpoint().port();
    request.base = *parse_base_url("https://" + host + ":" + std::to_string(port));
    request.target = "/";
    const auto result = run(fetch(client, request));
    message_ = result ? "" : result.error().message;
    return text_of(result);
  }

  std::string ask(const std::string& host) {
    Client client(io_.get_executor(), {.ca_file = ca_file_});
    return ask(client, host);
  }

  std::string ca_file_;
  std::string message_;
  int handshakes_ = 0;
  asio::ssl::context context_{asio::ssl::context::tls_server};
  std::optional<tcp::acceptor> acceptor_;
};

TEST_F(TlsTest, TrustedCertificateForTheRightHost) {
  serve("DNS:localhost,IP:127.0.0.1");
  Client client(io_.get_executor(), {.ca_file = ca_file_});
  EXPECT_EQ(ask(client, "localhost"), "ok") << message_;
  EXPECT_EQ(ask(client, "localhost"), "ok") << message_;
  EXPECT_EQ(handshakes_, 1) << "the second request reuses the connection";
  EXPECT_EQ(ask("127.0.0.1"), "ok") << message_;
}

TEST_F(TlsTest, WrongHostIsRefused) {
  serve("DNS:example.org,IP:10.0.0.1");
  EXPECT_EQ(ask("localhost"), "unavailable");
  EXPECT_NE(message_.find("mismatch"), std::string::npos) << message_;
  EXPECT_EQ(ask("127.0.0.1"), "unavailable");
  EXPECT_NE(message_.find("mismatch"), std::string::npos) << message_;
}

TEST_F(TlsTest, UnknownIssuerAndExpiredAreRefused) {
  serve("DNS:localhost");
  Client system_trust(io_.get_executor(), {});
  EXPECT_EQ(ask(system_trust, "localhost"), "unavailable");
  EXPECT_NE(message_.find("certificate"), std::string::npos) << message_;
  serve("DNS:localhost", -500);
  EXPECT_EQ(ask("localhost"), "unavailable");
  EXPECT_NE(message_.find("expired"), std::string::npos) << message_;
}

TEST_F(TlsTest, AConnectionCutWithoutCloseNotifyIsAnError) {
  serve("DNS:localhost", 1000, false);
  EXPECT_EQ(ask("localhost"), "unavailable");
}

TEST_F(TlsTest, AnUnreadableTrustFileIsAConfigError) {
  serve("DNS:localhost");
  ::unlink(ca_file_.c_str());
  EXPECT_EQ(ask("localhost"), "config");
}

}  // namespace
}  // namespace genesis::net
