"""Starting, watching and ending the processes of a test."""

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(os.environ.get("GENESIS_BIN", ROOT / "build/release/bin/genesis"))
MOCK_BIN = Path(os.environ.get("GENESIS_MOCK_BIN", BIN.parent / "mock_upstream"))

# Generous: a loaded machine with two cores must not fail a test.
START_SECONDS = 60
STOP_SECONDS = 40


def wait_until(condition, seconds=20.0, what="the condition", pause=0.02):
    """Calls `condition` until it gives something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s (last: {value!r})")
        time.sleep(pause)


def read_line(process, seconds, log):
    """One line of a process's stdout, or an error that shows its log."""
    end = time.monotonic() + seconds
    line = b""
    descriptor = process.stdout.fileno()
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        chunk = os.read(descriptor, 1) if ready else b""
        if not chunk:
            state = process.poll()
            how = "no line in time" if state is None else f"ended with {state}"
            raise AssertionError(f"{process.args}: {how}\n{tail(log)}")
        line += chunk
    return line.decode()


def tail(path, lines=40):
    text = Path(path).read_text(errors="replace") if Path(path).exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def alive(pid):
    """True while a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class Process:
    """A child that prints one JSON line when it is ready. Use as a context manager."""

    # A drained stop, or the same told as 128 + SIGTERM; a death by signal would be negative.
    clean_ends = (0, 143)

    def __init__(self, arguments, environment, log):
        self.log = Path(log)
        self.arguments = [str(argument) for argument in arguments]
        self.environment = environment
        self.popen = None
        self.ready = {}
        self.killed = False

    def start(self):
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
            )
        try:
            self.ready = json.loads(read_line(self.popen, START_SECONDS, self.log))
        except BaseException:
            self.kill()
            raise
        return self

    @property
    def pid(self):
        return self.popen.pid

    def kill(self):
        """kill -9, and wait for the end."""
        self.killed = True
        if self.popen and self.popen.poll() is None:
            self.popen.kill()
        if self.popen:
            self.popen.wait()
            self.popen.stdout.close()

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.popen is None:
            return None
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.arguments}: did not stop\n{tail(self.log)}") from None
        self.popen.stdout.close()
        return self.popen.returncode

    def check_end(self):
        """Stops it if it runs; an end that nobody asked for is a failure."""
        if self.popen is None or self.killed:
            return
        status = self.stop()
        assert status in self.clean_ends, f"{self.arguments} ended with {status}\n{tail(self.log)}"

    def __enter__(self):
        return self if self.popen else self.start()

    def __exit__(self, kind, *_):
        if kind is None:
            self.check_end()
        else:
            self.kill()
