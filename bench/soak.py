#!/usr/bin/env python3
"""Memory over a long run of mixed requests: plain and streamed answers, refused ones, clients that leave, faults of
the upstream. Prints the gateway's resident memory after each round and the slope over the second half.

    bench/soak.py [--requests 1000000]
"""

import argparse
import json
import pathlib
import re
import socket
import struct
import subprocess
import tempfile
import urllib.request

import peers

WORDS = 16
LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local bodies = {}
for i = 1, 8 do
  bodies[i] = '{"model":"mock","messages":[{"role":"user","content":"' .. string.rep("word ", 40 * i) .. '"}],"max_tokens":16}'
end
local at = 0
request = function()
  at = at % 8 + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
"""
BAD = ['{"model":"mock"}', '{"model":"nobody","messages":[{"role":"user","content":"x"}]}', "{", '{"model":"mock","messages":[]}']


def post(url, body):
    request = urllib.request.Request(url, data=body.encode(), headers={"content-type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=30).read()
    except OSError:
        pass  # refusals are the point


def leave_early(port, count):
    body = json.dumps({"model": "mock", "stream": True, "messages": [{"role": "user", "content": "x"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    for i in range(count):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()[: None if i % 3 else 60])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def served(gateway):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    text = opener.open(gateway.base_url.removesuffix("/v1") + "/metrics", timeout=30).read().decode()
    return int(float(re.search(r"^tgi_request_count(?:\{[^}]*\})? (\S+)$", text, re.M).group(1)))


def one_round(gateway, mock, script):
    faults = [{"fault": kind, "status": 503, "tokens": 3, "times": 5} for kind in ("status", "reset", "cut", "invalid_json")]
    post(mock.url + "/__script", json.dumps({"faults": faults}))
    subprocess.run(["wrk", "-t1", "-c16", "-d6s", "-s", script, gateway.base_url + "/chat/completions"],
                   check=True, capture_output=True)
    subprocess.run([peers.BIN / "stream_client", "--url", gateway.base_url, "--model", "mock", "--streams", "2000",
                    "--opens", "1500", "--words", str(WORDS)], check=True, capture_output=True)
    for i in range(200):
        post(gateway.base_url + "/chat/completions", BAD[i % len(BAD)])
    leave_early(int(gateway.base_url.split(":")[2].split("/")[0]), 200)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        script = folder / "mix.lua"
        script.write_text(LUA)
        mock = peers.start_mock(folder, words=WORDS)
        gateway = peers.genesis(folder, mock.url, tier="self_hosted")
        try:
            gateway.wait("mock")
            samples = []
            while not samples or samples[-1][0] < args.requests:
                one_round(gateway, mock, script)
                samples.append((served(gateway), peers.rss_mib(gateway.pid)))
                print(f"{samples[-1][0]} requests, {samples[-1][1]:.1f} MiB", flush=True)
            half = samples[len(samples) // 2:]
            span = max(1, half[-1][0] - half[0][0])
            slope = 1e5 * (half[-1][1] - half[0][1]) / span
            print(f"slope over the second half: {slope:+.2f} MiB for 100,000 requests")
            print(json.dumps({"measure": "soak", "requests": samples[-1][0], "rss_mib": samples[-1][1],
                              "rss_max_mib": max(rss for _, rss in samples), "mib_per_100k": round(slope, 3)}))
        finally:
            gateway.stop()
            mock.kill()
            mock.wait()


if __name__ == "__main__":
    main()
