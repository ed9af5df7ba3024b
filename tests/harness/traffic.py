"""Many calls at once over raw sockets, with what each one brought: the load side of the fault benches."""

import asyncio
import json
import time
from dataclasses import dataclass


@dataclass
class Call:
    """One request as its client saw it. Times in seconds after it was sent, -1 = never."""

    stream: bool
    outcome: str = ""  # "whole", "refused" (an error before the first token), "cut", "wrong", "lost"
    first: float = -1
    total: float = -1
    endpoint: str = ""
    at: float = 0.0


class Client:
    """Keeps one connection and sends one call after the other."""

    def __init__(self, port, whole, timeout=60):
        self.port = port
        self.whole = whole
        self.timeout = timeout
        self.reader = self.writer = None

    async def call(self, stream, model="auto"):
        got = Call(stream, at=time.monotonic())
        try:
            async with asyncio.timeout(self.timeout):
                await self._send(stream, model)
                await self._receive(got)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            got.outcome = got.outcome or ("cut" if got.first >= 0 else "lost")
            self.close()
        got.total = time.monotonic() - got.at
        return got

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def _send(self, stream, model):
        if not self.writer:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = json.dumps(
            {
                "model": model,
                "messages": [{"role": "user", "content": "Tell me."}],
                "stream": stream,
                "max_tokens": 16,  # what an attempt of unknown cost is booked with
            }
        ).encode()
        self.writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await self.writer.drain()

    async def _receive(self, got):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split()[1])
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        got.endpoint = fields.get("x-genesis-endpoint", "")
        if fields.get("transfer-encoding") == "chunked":
            body = await self._chunks(got)
        else:
            body = await self.reader.readexactly(int(fields["content-length"]))
        if status == 200:
            got.first = got.first if got.first >= 0 else time.monotonic() - got.at
        if fields.get("connection") == "close":
            self.close()
        self._judge(got, status, body.decode())

    async def _chunks(self, got):
        body = b""
        while True:
            size = int((await self.reader.readline()).strip(), 16)
            piece = await self.reader.readexactly(size + 2)
            if size == 0:
                return body
            got.first = got.first if got.first >= 0 else time.monotonic() - got.at
            body += piece[:-2]

    def _judge(self, got, status, body):
        if status != 200:
            got.outcome = "refused"
            return
        if not got.stream:
            text = json.loads(body)["choices"][0]["message"]["content"]
            got.outcome = "whole" if text == self.whole else "wrong"
            return
        text, error, finish = "", False, False
        for line in body.split("\n"):
            if line.startswith("data:") and not line.endswith("[DONE]"):
                event = json.loads(line[5:])
                error = error or bool(event.get("error"))
                for choice in event.get("choices", []):
                    text += choice["delta"].get("content") or ""
                    finish = finish or bool(choice.get("finish_reason"))
        if error:
            got.outcome = "cut"
        else:
            got.outcome = "whole" if text == self.whole and finish else "wrong"


async def load(port, whole, requests, clients, rate=0, timeout=60):
    """`requests` calls, every other one streamed, by `clients` connections; all results, in order of their end.
    With a rate, so many are begun a second."""
    results = []
    begin = time.monotonic()
    numbers = iter(range(requests))

    async def work():
        client = Client(port, whole, timeout)
        for number in numbers:
            if rate:
                await asyncio.sleep(max(0, begin + number / rate - time.monotonic()))
            results.append(await client.call(stream=number % 2 == 0))
        client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return results


def quantile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
