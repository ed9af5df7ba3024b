"""The engines that bench/engine.py compares: Genesis and llama-server over HTTP, the others each in a child
process of its own that is asked over pipes. All read the same GGUF file with the same number of threads.

A prompt is a list of token ids. `ask` of a server and `answer` of a child return a Run.
"""

import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
GENESIS = pathlib.Path(os.environ.get("GENESIS_BIN_DIR", ROOT / "build" / "release" / "bin")) / "genesis"
LLAMA_VERSION = re.search(
    r"^llama-cpp-python==(.*)$", (ROOT / "bench" / "requirements.txt").read_text(), re.MULTILINE).group(1)
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
LLAMA_SERVER = CACHE / "genesis" / f"llama.cpp-{LLAMA_VERSION}" / "bin" / "llama-server"
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
SLOTS = 15
CONTEXT = 2304  # tokens a sequence, prompt and answer
START_SECONDS = 120


@dataclasses.dataclass
class Run:
    """One request: seconds to the first token, seconds of the whole, tokens, seconds between tokens."""

    first: float
    whole: float
    count: int
    gaps: list


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def peak_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


class Server:
    """An engine that streams /v1/completions."""

    def __init__(self, name, command, port, ready_path):
        self.name, self.port = name, port
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([str(c) for c in command], stdout=self.log, stderr=self.log)
        self.wait(ready_path)

    def wait(self, path):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.get(path)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        self.log.seek(0)
        raise RuntimeError(f"{self.name} did not start: {self.log.read()[-2000:].decode(errors='replace')}")

    def get(self, path):
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            raw = b"".join(iter(lambda: s.recv(1 << 16), b""))
        head, _, body = raw.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def ask(self, prompt, count, more=None):
        body = json.dumps({"model": "m", "prompt": prompt, "max_tokens": count, "temperature": 0,
                           "ignore_eos": True, "stream": True, **(more or {})}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" \
               f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), 600) as s:
            start = time.perf_counter()
            s.sendall(head.encode() + body)
            return read_stream(self.name, s, start, count)

    def adapter(self, i):
        """What a request says to be answered with the i-th adapter."""
        return {"model": f"agent{i}"} if self.name == "genesis" else {"lora": [{"id": i, "scale": 1.0}]}

    def ask_all(self, prompts, count, adapters=False):
        """All at once; seconds until the last is done, and each one's Run. With `adapters` each with its own."""
        runs, errors = [None] * len(prompts), []

        def one(i):
            try:
                runs[i] = self.ask(prompts[i], count, self.adapter(i) if adapters else None)
            except (OSError, RuntimeError) as error:
                errors.append(str(error))

        threads = [threading.Thread(target=one, args=(i,)) for i in range(len(prompts))]
        start = time.perf_counter()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if errors:
            raise RuntimeError(f"{self.name}: {errors[0]} ({len(errors)} of {len(prompts)} requests)")
        return time.perf_counter() - start, runs

    def decode(self, prompt, count):
        run = self.ask(prompt, count)
        return (count - 1) / (run.whole - run.first)

    def prefill(self, prompt):
        return len(prompt) / self.ask(prompt, 1).first

    def batch(self, prompts, count):
        return len(prompts) * count / self.ask_all(prompts, count)[0]

    def peak_mib(self):
        return peak_mib(self.process.pid)

    def close(self):
        self.process.terminate()
        self.process.wait()


def read_stream(name, connection, start, count):
    """The arrival of each event that carries a token; an event may carry none (usage, finish reason)."""
    times, rest, status = [], b"", None
    while piece := connection.recv(1 << 16):
        now = time.perf_counter() - start
        rest += piece
        if status is None and b"\r\n" in rest:
            status = rest.split(b"\r\n", 1)[0].decode()
            if " 200 " not in status:
                raise RuntimeError(f"{name}: {status} {rest[-300:]!r}")
        *lines, rest = rest.split(b"\n")
        times += [now for line in lines if line.startswith(b"data: {") and b'"choices":[{' in line]
    if not times:
        raise RuntimeError(f"{name}: no token of {count}")
    # Half a character is held back until it is whole, so events can be fewer than tokens; ends can't.
    return Run(times[0], times[-1], count, [b - a for a, b in zip(times, times[1:])])


def genesis(model, threads, adapters=(), speculation=False, draft=None):
    """Without guesses unless told: after random prompts answers run in circles, which no real answer does."""
    port = free_port()
    server = Server("genesis", [
        GENESIS, "engine", "--model", model, "--name", "m", "--listen", f"127.0.0.1:{port}", "--threads", threads,
        "--max-batch", SLOTS, "--max-context", CONTEXT, "--speculation" if speculation else "--no-speculation",
        *(["--draft", draft] if draft else []),
        *(word for folder in adapters for word in ("--adapter", f"{folder.name}={folder}"))], port, "/health")
    server.isa = json.loads(server.get("/info")[1]).get("isa", "")
    return server


def llama_server(model, threads, adapters=()):
    port = free_port()
    return Server("llama-server", [
        LLAMA_SERVER, "-m", model, "--host", "127.0.0.1", "--port", port, "-t", threads, "-tb", threads,
        "-np", SLOTS, "-c", SLOTS * CONTEXT, "--no-webui",
        *(["--lora", ",".join(map(str, adapters)), "--lora-init-without-apply"] if adapters else [])], port, "/health")


class Child:
    """An engine in a Python child process: one JSON request a line, one JSON answer a line back."""

    def __init__(self, name, model, threads):
        self.name = name
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [BENCH_PYTHON, __file__, name, model, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        self.read()

    def read(self):
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        self.errors.seek(0)
        raise RuntimeError(f"{self.name} ended: {self.errors.read()[-1000:].decode(errors='replace')}")

    def answer(self, prompts, count):
        self.process.stdin.write(json.dumps({"prompts": prompts, "count": count}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def decode(self, prompt, count):
        answer = self.answer([prompt], count)
        return (count - 1) / (answer["whole"] - answer["first"])

    def prefill(self, prompt):
        return len(prompt) / self.answer([prompt], 1)["first"]

    def batch(self, prompts, count):
        return len(prompts) * count / self.answer(prompts, count)["whole"]

    def peak_mib(self):
        return peak_mib(self.process.pid)

    def close(self):
        self.process.kill()
        self.process.wait()


def child_transformers(model, threads):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    path = pathlib.Path(model).resolve()
    net = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()

    @torch.inference_mode()
    def run(prompts, count):
        ids = torch.tensor(prompts)
        first = []

        def note(_, scores):
            first.append(time.perf_counter())
            return scores

        start = time.perf_counter()
        net.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count,
                     do_sample=False, pad_token_id=0, logits_processor=[note])
        return first[0] - start, time.perf_counter() - start
    return run


def child_openvino(model, threads):
    import numpy
    import openvino
    import openvino_genai

    schedule = openvino_genai.SchedulerConfig()
    schedule.enable_prefix_caching = False  # it is asked for new prompts only
    schedule.cache_size = 2
    pipe = openvino_genai.LLMPipeline(
        str(pathlib.Path(model).resolve()), "CPU", scheduler_config=schedule, INFERENCE_NUM_THREADS=threads)

    def run(prompts, count):
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.apply_chat_template = count, True, False
        ids = numpy.asarray(prompts, dtype=numpy.int64)
        tokens = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        start = time.perf_counter()
        result = pipe.generate(tokens, config)
        whole = time.perf_counter() - start
        return result.perf_metrics.get_ttft().mean / 1000, whole
    return run


def child_ctranslate2(model, threads):
    import ctranslate2
    import torch
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = pathlib.Path(model).resolve()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    with tempfile.TemporaryDirectory() as folder:
        # It reads no GGUF: the weights go through fp32 to its int8, its smallest format on a CPU.
        net = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        net.save_pretrained(folder + "/hf")
        tokenizer.save_pretrained(folder + "/hf")
        del net
        TransformersConverter(folder + "/hf").convert(folder + "/ct2", quantization="int8")
        generator = ctranslate2.Generator(folder + "/ct2", device="cpu", intra_threads=threads)

    def run(prompts, count):
        tokens = [tokenizer.convert_ids_to_tokens(ids) for ids in prompts]
        first = []

        def note(step):
            if not first:
                first.append(time.perf_counter())
            return False

        start = time.perf_counter()
        generator.generate_batch(tokens, max_length=count, min_length=count, sampling_topk=1,
                                 include_prompt_in_result=False, callback=note)
        return first[0] - start, time.perf_counter() - start
    return run


def child_ik_llama(model, threads):
    """Its Python package has no batches: one prompt after the other."""
    from ik_llama_cpp import IkLlama, _ctypes_api

    _ctypes_api.llama_token_is_eog = lambda *_: False  # everybody writes as many tokens as asked for
    net = IkLlama(model, n_ctx=CONTEXT, n_threads=threads, verbose=False)

    def run(prompts, count):
        start = time.perf_counter()
        net.generate(prompts[0], max_tokens=0)
        first = time.perf_counter() - start
        start = time.perf_counter()
        for ids in prompts:
            net.generate(ids, max_tokens=count - 1)
        return first, time.perf_counter() - start
    return run


CHILDREN = {"transformers": child_transformers, "openvino-genai": child_openvino, "ctranslate2": child_ctranslate2,
            "ik-llama-cpp": child_ik_llama}


def serve_child(name, model, threads):
    run = CHILDREN[name](model, threads)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        first, whole = run(request["prompts"], request["count"])
        print(json.dumps({"first": first, "whole": whole}), flush=True)


if __name__ == "__main__":
    serve_child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
