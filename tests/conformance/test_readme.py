"""What README.md shows is what works: its Python example, word for word but for the port."""

import pathlib
import re
import subprocess
import sys

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


def test_the_python_example_streams_an_answer(local_gateway):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert "http://127.0.0.1:8080" in example
    example = example.replace("http://127.0.0.1:8080", local_gateway.url)
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "blue" in done.stdout
    assert len(done.stdout) > 80
