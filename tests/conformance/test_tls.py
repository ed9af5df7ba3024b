"""The listener's own TLS: versions, hot certificates, refusals, the same service as in plain text."""

import concurrent.futures
import datetime
import json
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from harness.gateway import make_config, paid, run_cli
from harness.wire import sse_events

CHAT = "/v1/chat/completions"
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 60}


def make_certificate(folder, name):
    """A self-signed pair of PEM files for 127.0.0.1 whose subject is `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class TlsWire:
    """One TLS connection that reads a response to its end."""

    def __init__(self, port, context=None):
        if context is None:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", port), 20)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")

    def subject(self):
        certificate = x509.load_der_x509_certificate(self.socket.getpeercert(binary_form=True))
        return certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value

    def ask(self, body, keep=True):
        data = json.dumps(body).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
        head += "" if keep else "Connection: close\r\n"
        self.socket.sendall(head.encode() + b"\r\n" + data)
        return self.read()

    def read(self):
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.more()
        head, body = got.split(b"\r\n\r\n", 1)
        text = head.decode().lower()
        if "content-length:" in text:
            size = int(text.split("content-length:")[1].split()[0])
            while len(body) < size:
                body += self.more()
        else:
            while not body.endswith(b"0\r\n\r\n"):
                body += self.more()
        return int(head.split()[1]), body.decode()

    def more(self):
        chunk = self.socket.recv(65536)
        assert chunk, "closed early"
        return chunk


@pytest.fixture
def certificate(tmp_path):
    folder = tmp_path / "tls"
    folder.mkdir()
    make_certificate(folder, "first")
    return folder


def tls_config(mock, folder, **more):
    tls = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    return make_config([paid(mock)], server={"tls": tls} | more)


def test_the_same_service_over_tls(make_mock, serve, certificate, rng):
    mock = make_mock("secure", words=60)
    gateway = serve(tls_config(mock, certificate))
    assert gateway.url.startswith("https://")
    wire = TlsWire(gateway.port)
    assert wire.socket.version() == "TLSv1.3"
    for _ in range(3):
        assert wire.ask(BODY)[0] == 200, "a kept connection"
    status, text = wire.ask(BODY | {"stream": True})
    assert status == 200
    assert sse_events(text)[-1] == "[DONE]"
    # Bodies of many records, and heads that share one with the body.
    for size in (1, 16_000, 300_000, rng.randrange(1_000_000)):
        big = BODY | {"messages": [{"role": "user", "content": "x" * size}]}
        assert wire.ask(big)[0] == 200
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: TlsWire(gateway.port).ask(BODY, keep=False)[0], range(40))
        assert set(answers) == {200}


def test_old_versions_weak_ciphers_and_plain_text_are_refused(make_mock, serve, certificate):
    mock = make_mock("secure", words=5)
    gateway = serve(tls_config(mock, certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        TlsWire(gateway.port, context)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:AES256-SHA:AES128-GCM-SHA256")  # no forward secrecy
    with pytest.raises((ssl.SSLError, OSError)):
        TlsWire(gateway.port, context)
    context.set_ciphers("ECDHE+AESGCM")
    assert TlsWire(gateway.port, context).ask(BODY)[0] == 200
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        plain.settimeout(10)
        try:
            got = plain.recv(4096)
        except ConnectionResetError:
            got = b""
        assert not got.startswith(b"HTTP/")


def test_the_certificate_is_read_again(make_mock, serve, certificate):
    mock = make_mock("secure", words=60, between_ms=20)
    gateway = serve(tls_config(mock, certificate))
    old = TlsWire(gateway.port)
    assert old.subject() == "first"
    make_certificate(certificate, "second")
    (certificate / "key.pem").rename(certificate / "aside.pem")
    done = gateway.cli("reload")
    assert done.returncode == 78
    assert "key.pem" in done.stderr
    assert TlsWire(gateway.port).subject() == "first"
    (certificate / "aside.pem").rename(certificate / "key.pem")
    gateway.cli("reload", check=True)
    assert TlsWire(gateway.port).subject() == "second"
    assert old.ask(BODY)[0] == 200, "a connection keeps the certificate it began with"


def test_beyond_loopback_plain_text_must_be_meant(make_mock, serve, tmp_path, certificate):
    mock = make_mock("far", words=5)
    home = tmp_path / "far"
    home.mkdir()
    (home / "genesis.toml").write_text(make_config([paid(mock)]))
    run_cli(home, "key", "create", "first", check=True)
    anywhere = {"GENESIS_HOST": "0.0.0.0:0"}
    done = run_cli(home, "serve", environment=anywhere)
    assert done.returncode == 78
    assert "plain text" in done.stderr
    assert "insecure_plaintext" in done.stderr
    for config in (
        make_config([paid(mock)], server={"insecure_plaintext": True}),
        tls_config(mock, certificate),
    ):
        gateway = serve(config, home=home, environment=anywhere)
        gateway.stop()


def test_half_a_pair_is_an_error(make_mock, tmp_path, binaries):
    home = tmp_path / "half"
    home.mkdir()
    (home / "genesis.toml").write_text('[server]\ntls = { cert = "/x.pem" }\n')
    done = run_cli(home, "serve")
    assert done.returncode == 78
    assert "genesis.toml:2" in done.stderr
