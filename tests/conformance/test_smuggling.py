"""Our HTTP parser beside two others, llhttp (httptools) and h11. What smuggling is made of is refused; and out
of no bytes do we read more requests than both of them do. Where the two differ from each other we may side with
one: h11 takes no empty line before a request and keeps no HTTP/1.0 connection; llhttp takes no unknown method,
no tab behind "chunked" and no folded line in a trailer.

GENESIS_SMUGGLE sets how many mutants are tried (default 2000)."""

import concurrent.futures
import os
import re
import socket

import h11
import httptools
import pytest
from harness.gateway import Gateway, make_config, paid
from harness.mock import Mock

MUTANTS = int(os.environ.get("GENESIS_SMUGGLE", "2000"))
LAST = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
BODY = b'{"messages":[]}'

# Good requests: all three must read each of them.
GOOD = [
    b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Empty:\r\nX-Long:   spaced out  \r\n\r\n",
    b"GET /ping?a=b&c=%20 HTTP/1.1\r\nHost: localhost:80\r\nAccept: */*\r\n\r\n",
    CHAT + b"Content-Length: 15\r\n\r\n" + BODY,
    CHAT + b"Content-Length: 0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + BODY + b"\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + BODY[:5] + b"\r\nA\r\n" + BODY[5:] + b"\r\n0\r\n\r\n",
    CHAT + b"Transfer-Encoding: chunked\r\n\r\nF;x=y\r\n" + BODY + b"\r\n0\r\nX-Trailer: 1\r\n\r\n",
]

# Read alike, too, but h11 keeps no HTTP/1.0 connection: a seed for mutants only.
OLD = b"GET /ping HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"

# What request smuggling is made of (llhttp's list of lenient cases, RFC 9112 sections 2.2, 5, 6, 7): none of
# these may be served.
BAD = {
    "length and chunks": CHAT + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": CHAT + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": CHAT + b"Content-Length: 15\r\nContent-Length: 0\r\n\r\n" + BODY,
    "the same length twice": CHAT + b"Content-Length: 15\r\nContent-Length: 15\r\n\r\n" + BODY,
    "a list of lengths": CHAT + b"Content-Length: 15, 15\r\n\r\n" + BODY,
    "signed length": CHAT + b"Content-Length: +15\r\n\r\n" + BODY,
    "negative length": CHAT + b"Content-Length: -15\r\n\r\n" + BODY,
    "hexadecimal length": CHAT + b"Content-Length: 0xf\r\n\r\n" + BODY,
    "length with a blank": CHAT + b"Content-Length: 1 5\r\n\r\n" + BODY,
    "empty length": CHAT + b"Content-Length:\r\n\r\n" + BODY,
    "huge length": CHAT + b"Content-Length: 18446744073709551616\r\n\r\n" + BODY,
    "blank before the colon": CHAT + b"Content-Length : 15\r\n\r\n" + BODY,
    "tab before the colon": CHAT + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "folded line": CHAT + b"X-A: b\r\n c\r\nContent-Length: 15\r\n\r\n" + BODY,
    "folded length": CHAT + b"Content-Length:\r\n 15\r\n\r\n" + BODY,
    "first field folded": b"POST /v1/chat/completions HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "bare line feed": CHAT + b"Content-Length: 15\n\n" + BODY,
    "bare line feed in a field": CHAT + b"X: a\nContent-Length: 15\r\n\r\n" + BODY,
    "bare carriage return": CHAT + b"X: a\rContent-Length: 15\r\n\r\n" + BODY,
    "zero byte": CHAT + b"X: a\0b\r\nContent-Length: 15\r\n\r\n" + BODY,
    "unknown coding": CHAT + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": CHAT + b"Transfer-Encoding: identity\r\nContent-Length: 15\r\n\r\n" + BODY,
    "coding after chunked": CHAT + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": CHAT + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings": CHAT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "quoted coding": CHAT + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "vertical tab coding": CHAT + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in 1.0": CHAT.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "blank in chunk size": CHAT + b"Transfer-Encoding: chunked\r\n\r\nf \r\n" + BODY + b"\r\n0\r\n\r\n",
    "blank before chunk size": CHAT + b"Transfer-Encoding: chunked\r\n\r\n f\r\n" + BODY + b"\r\n0\r\n\r\n",
    "blank before chunk extension": CHAT + b"Transfer-Encoding: chunked\r\n\r\nf ;x=y\r\n" + BODY + b"\r\n0\r\n\r\n",
    "tab before last chunk's extension": CHAT + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + BODY + b"\r\n0\t;x\r\n\r\n",
    "negative chunk size": CHAT + b"Transfer-Encoding: chunked\r\n\r\n-f\r\n" + BODY + b"\r\n0\r\n\r\n",
    "prefixed chunk size": CHAT + b"Transfer-Encoding: chunked\r\n\r\n0xf\r\n" + BODY + b"\r\n0\r\n\r\n",
    "overlong chunk size": CHAT + b"Transfer-Encoding: chunked\r\n\r\n1000000000000000f\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk without its end": CHAT + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + BODY + b"0\r\n\r\n",
    "line feed after chunk size": CHAT + b"Transfer-Encoding: chunked\r\n\r\nf\n" + BODY + b"\r\n0\r\n\r\n",
    "line feed after chunk": CHAT + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + BODY + b"\n0\r\n\r\n",
    "no host": b"GET /ping HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /ping HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    "version 2": b"GET /ping HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "version 1.10": b"GET /ping HTTP/1.10\r\nHost: localhost\r\n\r\n",
    "lower-case version": b"GET /ping http/1.1\r\nHost: localhost\r\n\r\n",
    "two blanks": b"GET  /ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tab in the line": b"GET\t/ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no version": b"GET /ping\r\nHost: localhost\r\n\r\n",
    "control byte in the path": b"GET /pi\x01ng HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no name": b"GET /ping HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
    "no colon": b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n",
    "odd name": b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX(a): b\r\n\r\n",
}


# llhttp knows a list of methods, we take any token and answer 404 or 405; the framing is what counts.
METHOD = re.compile(rb"^((?:\r\n)*)[!#$%&'*+.^_`|~0-9A-Za-z-]+ ")


class Counter:
    """llhttp's callbacks: how many messages were complete."""

    def __init__(self):
        self.messages = 0

    def on_message_complete(self):
        self.messages += 1


def by_llhttp(data):
    """(complete messages, whether the rest was refused)."""
    counter = Counter()
    parser = httptools.HttpRequestParser(counter)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return counter.messages, True
    except httptools.HttpParserInvalidMethodError:
        known = METHOD.sub(rb"\1POST ", data, count=1)
        if counter.messages == 0 and known != data:
            return by_llhttp(known)
        return None, True  # a later request: no telling where it begins
    except httptools.HttpParserError:
        return counter.messages, True
    return counter.messages, False


def by_h11(data):
    """The same, in the role of a server that answers each request."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    messages = 0
    try:
        while True:
            event = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return messages, False
            if isinstance(event, (h11.ConnectionClosed,)):
                return messages, False
            if isinstance(event, h11.EndOfMessage):
                messages += 1
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return messages, False
                connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return messages, True


def by_genesis(port, data):
    """(requests read to their end, whether the rest was refused): handlers give an id, refusals none."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), 20) as wire:
        wire.sendall(data)
        wire.settimeout(2.0)
        try:
            while chunk := wire.recv(65536):
                got += chunk
        except TimeoutError:
            pass
        except ConnectionResetError:
            pass
    heads = [part for part in got.split(b"HTTP/1.1 ")[1:]]
    served = sum(b"x-request-id:" in part.lower() for part in heads)
    # A "no" that needs no body is said before the body is there; then the connection ends.
    if heads and heads[-1][:3] in (b"404", b"405") and b"connection: close" in heads[-1].lower():
        served -= 1
    return served, any(b"x-request-id:" not in part.lower() for part in heads)


@pytest.fixture(scope="module")
def port(mock_home, tmp_path_factory, binaries):
    home = tmp_path_factory.mktemp("smuggle")
    with Mock(home, "m") as mock:
        # Bytes are judged here, not names.
        config = make_config([paid(mock)], server={"check_host": False}, log={"level": "error"})
        with Gateway(home / "home", config) as gateway:
            yield gateway.port


@pytest.mark.parametrize("data", GOOD, ids=range(len(GOOD)))
def test_good_requests_are_read_alike(port, data):
    whole = data + data + LAST
    assert by_llhttp(whole) == (3, False)
    assert by_h11(whole) == (3, False)
    assert by_genesis(port, whole) == (3, False)


@pytest.mark.parametrize("name", BAD)
def test_what_smuggling_is_made_of_is_refused(port, name):
    served, refused = by_genesis(port, BAD[name] + LAST)
    assert served == 0, f"{name}: {served} requests were served"
    assert refused, f"{name}: no answer"


PIECES = [
    b"\n", b"\r", b"\r\n", b" ", b"\t", b"\0", b"\x0b", b"\x7f", b"\x80", b":", b";", b",", b"0", b"1", b"-",
    b"+", b"x", b"G", b"chunked", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
    b"Connection: close\r\n", b"Host: b\r\n", b"HTTP/1.1", b"HTTP/1.0", b"%00", b"/..", b"\\", b"#", b"?",
]


def mutant(rng):
    data = bytearray(rng.choice([*GOOD, OLD, *BAD.values()]))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(len(data))
        how = rng.randrange(4)
        if how == 0:
            data[at:at] = rng.choice(PIECES)
        elif how == 1:
            del data[at : at + rng.choice([1, 1, 2, 4])]
        elif how == 2:
            data[at : at + 1] = rng.choice(PIECES)
        else:
            data[at:at] = data[at : at + rng.randrange(1, 30)]
    return bytes(data) + LAST


@pytest.mark.limit(600)
def test_no_mutant_is_read_as_more_requests_than_the_others_read(port, rng):
    mutants = [mutant(rng) for _ in range(MUTANTS)]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        ours = list(pool.map(lambda data: by_genesis(port, data)[0], mutants))
    wrong = []
    for data, served in zip(mutants, ours):
        theirs = [by_llhttp(data)[0], by_h11(data)[0]]
        if None not in theirs and served > max(theirs):
            wrong.append((served, theirs, data))
    assert not wrong, "\n".join(map(repr, wrong[:10])) + f"\n{len(wrong)} in all"
