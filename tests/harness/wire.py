"""HTTP by hand: requests that no client library would send, and cuts at chosen moments."""

import json
import socket
import struct


class Wire:
    """One TCP connection. Reads are bounded by `timeout` seconds each."""

    def __init__(self, port, timeout=15.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def request(self, method, path, body=b"", headers=(), host="127.0.0.1"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if data or method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data)

    def _fill(self):
        chunk = self.socket.recv(65536)
        self.buffer += chunk
        return bool(chunk)

    def head(self):
        """(status, headers in lower case) of the next response, or (None, {}) when the peer closed."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._fill():
                return None, {}
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.split(":", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value.strip() for name, value in fields}

    def rest(self):
        """Everything up to the close of the peer."""
        while self._fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def response(self):
        """(status, headers, body text) of a response with a length or in chunks."""
        status, headers = self.head()
        if status is None:
            return None, {}, ""
        if "content-length" in headers:
            need = int(headers["content-length"])
            while len(self.buffer) < need and self._fill():
                pass
            body, self.buffer = self.buffer[:need], self.buffer[need:]
            return status, headers, body.decode()
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, self._chunks().decode()
        return status, headers, self.rest().decode()

    def _chunks(self):
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                if not self._fill():
                    raise AssertionError(f"the body ends without its last chunk: {body[-200:]!r}")
            size_line, self.buffer = self.buffer.split(b"\r\n", 1)
            size = int(size_line, 16)
            while len(self.buffer) < size + 2:
                if not self._fill():
                    raise AssertionError(f"the body ends inside a chunk: {body[-200:]!r}")
            body += self.buffer[:size]
            self.buffer = self.buffer[size + 2 :]
            if size == 0:
                return body

    def read_until(self, mark):
        """Reads until `mark` is in the buffer; returns the buffer."""
        while mark not in self.buffer:
            if not self._fill():
                raise AssertionError(f"closed before {mark!r}: {self.buffer[-300:]!r}")
        return self.buffer

    def reset(self):
        """Closes with RST, as a killed client behind a proxy does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def sse_events(text):
    """The data of each event of a stream."""
    return [line[len("data:") :].strip() for line in text.split("\n") if line.startswith("data:")]
