"""Sixteen fault scenarios for any gateway, after failoverbench (github.com/failoverbench/failoverbench, methodology
v0.1): one provider with two models, of which the primary shows one fault; judged from what the caller got and from the
provider's own journal.

Verdicts: pass = the whole answer, and every check held; partial = rescued, but a check failed; safe = a clean error in
time; fail = a hang, a truncated answer shown as finished, or a required check failed. `pace` shrinks every time of a
scenario, so that the same scenarios can run in a test suite.
"""

import http.client
import json
import threading
import time
import urllib.parse
from dataclasses import dataclass, field

from .mock import answer

WHOLE = answer(60)
BETWEEN_MS = 15
LIMIT_SECONDS = 120


@dataclass
class Outcome:
    text: str = ""
    finish: str = ""  # finish_reason, when one came
    done: bool = False
    error: str = ""  # an error response, an error event, or a broken connection
    model: str = ""
    usage: dict = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def whole(self):
        return self.text == WHOLE and not self.error and bool(self.finish)

    @property
    def lied(self):
        """Shown as finished although something is missing."""
        return bool(self.finish) and not self.error and self.text != WHOLE


class Caller:
    """One OpenAI-shaped gateway as its client sees it; asks for the primary, streamed."""

    def __init__(self, base_url, model, headers=None, stream=True):
        self.stream = stream
        self.url = urllib.parse.urlsplit(base_url)
        self.model = model
        self.headers = {"content-type": "application/json", **(headers or {})}

    def ask(self, limit=LIMIT_SECONDS):
        stream = self.stream
        got, begin = Outcome(), time.monotonic()
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=limit)
        body = {"model": self.model, "stream": stream, "messages": [{"role": "user", "content": "Tell me about the fleet."}]}
        if stream:
            body["stream_options"] = {"include_usage": True}
        try:
            connection.request("POST", self.url.path + "/chat/completions", json.dumps(body), self.headers)
            response = connection.getresponse()
            if response.status != 200:
                got.error = f"{response.status} {response.read(4096).decode(errors='replace')}"
            elif stream:
                self._read_events(response, got, begin + limit)
            else:
                self._read_whole(json.loads(response.read()), got)
        except (OSError, http.client.HTTPException, ValueError) as error:
            got.error = got.error or f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        got.seconds = time.monotonic() - begin
        return got

    @staticmethod
    def _read_whole(document, got):
        choice = document["choices"][0]
        got.text, got.finish = choice["message"].get("content") or "", choice.get("finish_reason") or ""
        got.model, got.usage, got.done = document.get("model", ""), document.get("usage") or {}, True

    @staticmethod
    def _read_events(response, got, deadline):
        for line in response:
            if time.monotonic() > deadline:
                got.error = "hang"
                return
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                got.done = True
                return
            try:
                event = json.loads(data)
            except ValueError:
                got.error = got.error or "an event that is no JSON"
                continue
            if event.get("error"):
                got.error = json.dumps(event["error"])
                return
            got.model = event.get("model") or got.model
            got.usage = event.get("usage") or got.usage
            for choice in event.get("choices") or []:
                got.text += (choice.get("delta") or {}).get("content") or ""
                got.finish = choice.get("finish_reason") or got.finish
        if not got.finish:
            got.error = got.error or "the connection ended without an end"


class Stage:
    """A provider (the mock) and a caller in front of a gateway."""

    def __init__(self, provider, caller, pace=1.0):
        self.provider, self.caller, self.pace = provider, caller, pace
        self.before = 0  # lines of the journal that are not of the scenario

    def script(self, *faults):
        self.provider.script(*({"model": "primary", **fault} for fault in faults))

    def ms(self, seconds):
        return int(1000 * seconds * self.pace)

    def journal(self):
        """What the provider has seen of the primary's requests; those that hang come when they end."""
        time.sleep(0.1)
        return [line for line in self.provider.journal()[self.before :] if line["model"] == "primary"]

    def attempts(self):
        """Arrival times in seconds."""
        return [line["received_ms"] / 1000 for line in self.journal()]


def judge(outcome, ok=True, note=""):
    if outcome.whole:
        return ("pass" if ok else "partial"), note
    if outcome.lied or outcome.error == "hang":
        return "fail", note or f"{len(outcome.text)} of {len(WHOLE)} bytes shown as {outcome.finish!r} {outcome.error}"
    return "safe", outcome.error[:120]


def s01(stage):
    """429 with Retry-After 2, once."""
    stage.script({"fault": "status", "status": 429, "retry_after": 2})
    got = stage.caller.ask()
    times = stage.attempts()
    early = len(times) > 1 and times[1] - times[0] < 1.8
    return judge(got, not early, f"asked again after {times[1] - times[0]:.1f} s" if early else "")


def s02(stage):
    """429 always."""
    stage.script({"fault": "status", "status": 429, "times": -1})
    got = stage.caller.ask()
    times = stage.attempts()
    soon = sum(each - times[0] < 3 for each in times)
    return judge(got, soon <= 4 and len(times) <= 6, f"{len(times)} attempts")


def s03(stage):
    """500 once."""
    stage.script({"fault": "status", "status": 500})
    got = stage.caller.ask()
    count = len(stage.attempts())
    return judge(got, count == 2, f"{count} attempts at the primary")


def s04(stage):
    """503 always."""
    stage.script({"fault": "status", "status": 503, "times": -1})
    return judge(stage.caller.ask())


def s05(stage):
    """Reset before the head, once."""
    stage.script({"fault": "reset"})
    return judge(stage.caller.ask())


def s06(stage):
    """Accepts and never answers."""
    stage.script({"fault": "hang", "ms": stage.ms(120), "times": -1})
    got = stage.caller.ask()
    if got.seconds > 100 * stage.pace + 5:
        return "fail", f"{got.seconds:.0f} s"
    count = len(stage.attempts()) or 1  # hung attempts are journaled when they end
    return judge(got, count == 1, f"{got.seconds:.0f} s")


def s07(stage):
    """Head at once, first token after 20 s."""
    stage.script({"fault": "slow_first", "ms": stage.ms(20), "times": -1})
    got = stage.caller.ask()
    return judge(got, True, "a limit on the first token" if got.seconds < 15 * stage.pace + 2 else f"{got.seconds:.0f} s")


def s08(stage):
    """The stream dies after 40 of 60 tokens, always."""
    stage.script({"fault": "cut", "tokens": 40, "times": -1})
    return judge(stage.caller.ask())


def s09(stage):
    """Silent after 20 tokens for 30 s, then closed, always."""
    stage.script({"fault": "stall", "tokens": 20, "ms": stage.ms(30), "times": -1})
    got = stage.caller.ask()
    verdict, note = judge(got)
    return ("fail", f"{got.seconds:.0f} s") if got.seconds > 45 * stage.pace + 5 else (verdict, note)


def s10(stage):
    """The tenth event is one too many and not JSON."""
    stage.script({"fault": "bad_event", "tokens": 10})
    return judge(stage.caller.ask())


def s11(stage):
    """Complete, but no [DONE]."""
    stage.script({"fault": "no_done"})
    got = stage.caller.ask()
    return judge(got, got.seconds < 8 and bool(got.usage), "" if got.usage else "no usage")


def s12(stage):
    """400 context_length_exceeded, always."""
    stage.script({"fault": "status", "status": 400, "code": "context_length_exceeded", "times": -1,
                  "message": "This model's maximum context length is 8192 tokens."})
    got = stage.caller.ask()
    count = len(stage.attempts())
    if count != 1:
        return "fail", f"{count} attempts at the primary"
    return judge(got)


def s13(stage):
    """400 content_policy_violation, always: the reason belongs to the caller."""
    stage.script({"fault": "status", "status": 400, "code": "content_policy_violation", "times": -1,
                  "message": "The request was rejected by the safety system."})
    got = stage.caller.ask()
    count = len(stage.attempts())
    if count != 1:
        return "fail", f"{count} attempts at the primary"
    told = "content_policy" in got.error or "safety system" in got.error
    if got.whole:
        return "partial", "routed around it"
    return ("pass", "") if told else ("safe", got.error[:120])


def s14(stage):
    """As S08, and the fallback refuses an assistant's last message."""
    stage.script({"fault": "cut", "tokens": 40, "times": -1})
    stage.provider.script({"fault": "refuse_prefill", "model": "fallback", "times": -1})
    got = stage.caller.ask()
    if "prefill" in got.error or "last message" in got.error:
        return "fail", got.error[:120]
    return judge(got)


def s15(stage):
    """503 for 60 s, then fine; twenty requests, one each 4 s."""
    stage.script({"fault": "status", "status": 503, "times": -1})
    begin = time.monotonic()
    outage, gap = 60 * stage.pace, 4 * stage.pace
    # Recovery in the middle of the run, whatever the requests are doing.
    timer = threading.Timer(outage, stage.provider.reset)
    timer.start()
    bad, back = 0, None
    for number in range(20):
        got = stage.caller.ask()
        bad += not got.whole
        now = time.monotonic() - begin
        if got.whole and got.model == "primary" and now > outage and back is None:
            back = now - outage
        time.sleep(max(0.0, begin + (number + 1) * gap - time.monotonic()))
    while back is None and time.monotonic() - begin < outage + 30 * stage.pace + 2:
        got = stage.caller.ask()
        if got.whole and got.model == "primary":
            back = time.monotonic() - begin - outage
        time.sleep(gap)
    timer.join()
    probes = sum(line["status"] == 503 for line in stage.journal())
    note = f"{bad} not answered, {probes} attempts in the outage, back after {back if back is None else round(back, 1)} s"
    if bad:
        return "fail", note
    return ("pass" if back is not None and back <= 30 * stage.pace + 1 and probes <= 20 else "partial"), note


def s16(stage):
    """503 always: the answer names who gave it, and has its usage."""
    stage.script({"fault": "status", "status": 503, "times": -1})
    got = stage.caller.ask()
    honest = "fallback" in got.model and bool(got.usage)
    return judge(got, honest, "" if honest else f"model {got.model!r}, usage {bool(got.usage)}")


SCENARIOS = {name.upper(): call for name, call in sorted(globals().items()) if name.startswith("s") and name[1:].isdigit()}


def play(stage, name):
    """(verdict, note) of one scenario, with the healthy request that must follow within 10 s."""
    stage.provider.reset()
    stage.before = len(stage.provider.journal())
    verdict, note = SCENARIOS[name](stage)
    stage.provider.reset()
    # An endpoint that was left alone for its failures may be so for a moment: the fallback answers.
    healthy = stage.caller.ask(limit=10)
    if not healthy.whole and verdict != "fail":
        return "fail", f"not healthy afterwards: {healthy.error[:100]}"
    return verdict, note
