"""The command line as a newcomer and as a script meet it."""

import json
import os
import pty
import re
import shutil
import subprocess

import pytest
from harness.gateway import MODEL, base_environment, make_config, run_cli
from harness.process import BIN
from harness.wire import Wire

VERBS = (
    "serve run chat pull ls ps show rm savings doctor completion version engine "
    "key ledger config import"
).split()
SUB_VERBS = [
    ("key", "create"),
    ("key", "ls"),
    ("key", "rm"),
    ("ledger", "verify"),
    ("ledger", "ls"),
    ("ledger", "export"),
    ("ledger", "pubkey"),
    ("savings", "verify"),
    ("import", "litellm"),
    ("import", "usage"),
    ("config", "show"),
    ("config", "check"),
]
ESCAPE = "\x1b["
# Without the second sentence this small model answers in bad French.
QUESTION = "What is the capital of France? Answer in one sentence."


@pytest.fixture
def home(tmp_path, binaries):
    return tmp_path / "home"


def test_help_fits_a_screen(home):
    text = run_cli(home, "--help", check=True).stdout
    assert text.count("\n") <= 45
    for verb in VERBS:
        assert re.search(rf"^\s+{verb}\b", text, re.M), verb


@pytest.mark.parametrize("verb", [(v,) for v in VERBS] + SUB_VERBS, ids=" ".join)
def test_each_verb_shows_examples(home, verb):
    text = run_cli(home, *verb, "--help", check=True).stdout
    examples = text[text.index("Examples:") :]
    assert len(re.findall(r"(?:^  |\| |<\()genesis ", examples, re.M)) >= 2, text


def test_version(home):
    text = run_cli(home, "version", check=True).stdout
    document = json.loads(run_cli(home, "version", "--json", check=True).stdout)
    assert re.search(r"\d+\.\d+\.\d+", text)
    assert re.search(r"\d+\.\d+\.\d+", json.dumps(document))
    assert run_cli(home, "--version", check=True).stdout.strip()


def test_exit_codes_are_documented(home):
    text = run_cli(home, "help", "exit-codes", check=True).stdout
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 75, 78):
        assert re.search(rf"^\s*{code}\b", text, re.M), code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["nonsense"], 2),
        (["serve", "--nonsense"], 2),
        (["completion", "tcsh"], 2),
        (["show", "no-such-model"], 3),
        (["rm", "no-such-model"], 3),
        (["key", "rm", "no-such-key"], 3),
        (["pull", "./no/such/file.gguf"], 3),
        (["savings", "--since", "soon"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes(home, arguments, code):
    done = run_cli(home, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.strip(), "says why, on stderr"
    assert not done.stdout.strip() or code == 2


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (["ls"], (0,)),
        (["ps"], (0,)),
        (["config", "show"], (0,)),
        (["config", "show", "--origin"], (0,)),
        (["config", "check"], (0,)),
        # There is no model yet, and no ledger.
        (["doctor"], (0, 1)),
        (["key", "ls"], (0, 3)),
        (["ledger", "ls"], (0, 3)),
        (["ledger", "verify"], (0, 3)),
        (["savings"], (0, 3)),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_json_on_an_empty_home(home, arguments, codes):
    done = run_cli(home, *arguments, "--json")
    assert done.returncode in codes, done.stderr
    if done.returncode == 3:
        assert "genesis " in done.stderr, "names the next command"
    else:
        json.loads(done.stdout)


def test_json_on_every_listing_of_a_used_home(local_gateway):
    """Stable shapes: a list of objects, or one object."""
    for arguments in (["ls"], ["ps"], ["key", "ls"], ["ledger", "ls"], ["config", "show"], ["doctor"]):
        document = local_gateway.cli_json(*arguments)
        assert document, arguments
        assert all(isinstance(row, dict) for row in document)
    for arguments in (["savings"], ["ledger", "verify"], ["version"]):
        assert isinstance(local_gateway.cli_json(*arguments), dict), arguments


def test_listings_of_a_model(local_home):
    listed = json.loads(run_cli(local_home, "ls", "--json", check=True).stdout)
    assert MODEL in json.dumps(listed)
    assert run_cli(local_home, "ls", "--quiet", check=True).stdout.split() == [MODEL]
    shown = json.dumps(json.loads(run_cli(local_home, "show", MODEL, "--json", check=True).stdout))
    assert re.search(r"\b[0-9a-f]{64}\b", shown), "the hash of the weights"
    run_cli(local_home, "rm", MODEL, check=True)
    assert run_cli(local_home, "ls", "--quiet", check=True).stdout.split() == []


def run_on_terminal(home, *arguments, environment=None):
    """Output of a command whose stdout is a terminal."""
    primary, secondary = pty.openpty()
    merged = base_environment(home) | {"TERM": "xterm-256color"} | (environment or {})
    child = subprocess.Popen(
        [str(BIN), *arguments], env=merged, stdin=secondary, stdout=secondary, stderr=secondary
    )
    os.close(secondary)
    output = b""
    while True:
        try:
            chunk = os.read(primary, 65536)
        except OSError:
            break
        if not chunk:
            break
        output += chunk
    os.close(primary)
    child.wait(30)
    return output.decode()


@pytest.mark.parametrize("arguments", [["doctor"], ["ls"], ["config", "show"], ["ps"]], ids=" ".join)
def test_no_escape_codes_in_pipes_or_with_no_color(home, arguments):
    piped = run_cli(home, *arguments)
    assert piped.stdout + piped.stderr
    assert ESCAPE not in piped.stdout + piped.stderr
    assert ESCAPE not in run_on_terminal(home, *arguments, environment={"NO_COLOR": "1"})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(home, shell):
    script = run_cli(home, "completion", shell, check=True).stdout
    for verb in VERBS:
        assert verb in script


def test_bash_completion_works(home, tmp_path):
    script = tmp_path / "complete.bash"
    script.write_text(run_cli(home, "completion", "bash", check=True).stdout)
    probe = f"""
        source {script}
        name=$(complete -p genesis | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        COMP_WORDS=(genesis led) COMP_CWORD=1 COMP_LINE="genesis led" COMP_POINT=11
        $name genesis led genesis
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["ledger"], done.stderr


def test_config_show_tells_the_origin(home):
    home.mkdir(parents=True)
    (home / "genesis.toml").write_text(make_config(engine={"threads": 1}, server={"max_concurrent": 7}))
    shown = run_cli(home, "config", "show", "--origin", check=True).stdout
    line = next(line for line in shown.splitlines() if "engine.threads" in line)
    assert "genesis.toml:2" in line
    line = next(line for line in shown.splitlines() if "server.listen" in line)
    assert "GENESIS_HOST" in line
    line = next(line for line in shown.splitlines() if "engine.kv_mib" in line)
    assert "default" in line


BAD_CONFIGS = {
    "unknown key": ("[engine]\nthreats = 2\n", 2, "threads"),
    "unknown section": ("[engin]\nthreads = 2\n", 1, "engine"),
    "wrong type": ("[engine]\n\nthreads = \"two\"\n", 3, "integer"),
    "out of range": ("[engine]\nthreads = -1\n", 2, "between"),
    "not toml": ("[engine]\nthreads = = 2\n", 2, ""),
    "float price": ("[local]\nmachine_usd_per_hour = 0.06\n", 2, "quotes"),
    "secret in the file": (
        '[[endpoint]]\nname = "a"\nurl = "http://h/v1"\nmodel = "m"\napi_key = "sk-1"\n', 5, "env"),
    "endpoint without url": ('[[endpoint]]\nname = "a"\nmodel = "m"\n', 1, "url"),
    "route to nothing": (
        '[[endpoint]]\nname = "paid"\nurl = "http://h/v1"\nmodel = "m"\n'
        '[[route]]\nname = "r"\nendpoints = ["pay"]\n', 5, "paid"),
    "bad listen": ('[server]\nlisten = "nowhere"\n', 2, "not an address"),
}


@pytest.mark.parametrize(("text", "line", "hint"), BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
def test_bad_config_names_line_and_remedy(home, text, line, hint):
    home.mkdir(parents=True)
    (home / "genesis.toml").write_text(text)
    environment = {"GENESIS_HOST": ""} if "listen" in text else {}
    for verb in (["config", "check"], ["serve"]):
        done = run_cli(home, *verb, environment=environment)
        assert done.returncode == 78, f"{verb}: {done.returncode} {done.stderr}"
        assert hint in done.stderr
        if line:
            assert f"genesis.toml:{line}" in done.stderr
        assert "sk-1" not in done.stderr


def test_missing_named_config(home):
    done = run_cli(home, "serve", environment={"GENESIS_CONFIG": "/nonexistent/genesis.toml"})
    assert done.returncode == 78
    assert "/nonexistent/genesis.toml" in done.stderr


def test_binding_beyond_loopback_without_keys_is_refused(home):
    """Before the default model, which this home lacks, is downloaded."""
    done = run_cli(home, "serve", "--listen", "0.0.0.0:0", timeout=60)
    assert done.returncode == 78
    assert "key" in done.stderr
    assert not list(home.rglob("*.gguf*"))


def test_doctor(local_home):
    done = run_cli(local_home, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert MODEL in done.stdout or "model" in done.stdout.lower()


def test_run_answers_from_a_cold_start(local_home):
    done = run_cli(local_home, "run", QUESTION, "--max-tokens", "40")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    document = json.loads(run_cli(local_home, "run", "Say hi.", "--max-tokens", "8", "--json", check=True).stdout)
    assert document


def test_run_takes_any_pulled_model(local_home):
    """Without an endpoint of its own in the configuration, and without fetching anything else."""
    path = json.loads(run_cli(local_home, "show", MODEL, "--json", check=True).stdout)["files"][0]["path"]
    run_cli(local_home, "pull", path, "--name", "mine", check=True)
    try:
        done = run_cli(local_home, "run", "--model", "mine", QUESTION, "--max-tokens", "20")
    finally:
        run_cli(local_home, "rm", "mine", check=True)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


def tiny_safetensors_model(folder):
    """A Llama of two small layers with random weights, in the files that the Hub publishes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=128, tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))


def test_a_pulled_safetensors_model_is_served(local_home, tmp_path):
    folder = tmp_path / "tiny"
    tiny_safetensors_model(folder)
    run_cli(local_home, "pull", folder, "--name", "tiny", check=True)
    try:
        done = run_cli(local_home, "run", "--model", "tiny", "Hello", "--max-tokens", "5", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["output_tokens"] == 5
    finally:
        run_cli(local_home, "rm", "tiny", check=True)


def test_an_unknown_verb_is_named(home):
    done = run_cli(home, "serv")
    assert done.returncode == 2
    assert "'serv'" in done.stderr
    assert "'genesis serve'" in done.stderr


def test_lost_output_is_an_error(home):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([BIN, "ls"], env=base_environment(home), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "output" in done.stderr


def test_config_check_reads_secrets(home):
    home.mkdir(parents=True)
    (home / "genesis.toml").write_text(REMOTE_ONLY + 'api_key = { env = "NOT_SET_HERE" }\n')
    done = run_cli(home, "config", "check", "--json")
    assert done.returncode == 78
    assert "NOT_SET_HERE" in json.loads(done.stdout)["message"]
    doctor = {f["check"]: f for f in json.loads(run_cli(home, "doctor", "--json").stdout)}
    assert not doctor["settings"]["ok"]


def test_doctor_sees_a_damaged_ledger(local_home, tmp_path):
    home = tmp_path / "copy"
    shutil.copytree(local_home, home, symlinks=True, ignore=shutil.ignore_patterns("models", "run"))
    run_cli(home, "key", "create", "x", check=True)
    (database,) = home.rglob("genesis.db")
    database.write_bytes(b"")
    assert run_cli(home, "ledger", "verify").returncode == 7
    findings = {f["check"]: f for f in json.loads(run_cli(home, "doctor", "--json").stdout)}
    assert not findings["ledger"]["ok"]
    assert run_cli(home, "key", "create", "y").returncode == 7, "no new ledger in silence"


def test_run_reads_a_pipe(local_home):
    done = run_cli(local_home, "run", "--max-tokens", "40", stdin=QUESTION)
    assert "Paris" in done.stdout, done.stderr


def test_chat_keeps_the_conversation(local_gateway):
    done = local_gateway.cli("chat", stdin="The secret word is banana. Say ok.\nWhat is the secret word?\n")
    assert done.returncode == 0, done.stderr
    assert "banana" in done.stdout.lower()


def test_second_gateway_on_one_home_is_refused(local_gateway):
    done = run_cli(local_gateway.home, "serve", timeout=60)
    assert done.returncode != 0
    assert "running" in done.stderr or "lock" in done.stderr or "use" in done.stderr


# A gateway without a local model: nothing to download before the port is tried.
REMOTE_ONLY = '[[endpoint]]\nname = "far"\nurl = "http://127.0.0.1:9/v1"\nmodel = "m"\n'


def test_taken_port_is_explained(local_gateway, home):
    home.mkdir(parents=True)
    (home / "genesis.toml").write_text(REMOTE_ONLY)
    done = run_cli(home, "serve", environment={"GENESIS_HOST": f"127.0.0.1:{local_gateway.port}"}, timeout=60)
    assert done.returncode != 0
    assert str(local_gateway.port) in done.stderr


def test_engine_alone_serves_a_socket_and_a_port(local_home):
    from harness.process import Process

    arguments = [BIN, "engine", "--model", MODEL, "--listen", "127.0.0.1:0", "--threads", "1"]
    with Process(arguments, base_environment(local_home), local_home / "engine.log") as engine:
        port = int(engine.ready["listen"].rsplit(":", 1)[1])
        body = {"inputs": "The capital of France is", "parameters": {"max_new_tokens": 6}}
        with Wire(port, timeout=60) as wire:
            wire.request("POST", "/generate", body)
            status, _, text = wire.response()
        assert status == 200, text
        assert "Paris" in json.loads(text)["generated_text"]
