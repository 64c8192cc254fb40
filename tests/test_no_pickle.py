"""R4 of docs/reliability.md: no pickle, in our code or in what it has others write."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import parabola
import pytest
from parabola import LONG

ROOT = Path(__file__).parents[1]
FORBIDDEN = [
    "import pickle",
    "from pickle import loads",
    "import torch\n\ntorch.load('x')",
    "import torch\n\ntorch.save({}, 'x')",
    "from torch import load",
    "import numpy as np\n\nnp.load('x', allow_pickle=True)",
    "import joblib",
    "import shelve",
    "from accelerate.utils import save",
]


@pytest.mark.parametrize("code", FORBIDDEN)
def test_the_linter_refuses_pickle(code):
    ruff = Path(sys.executable).parent / "ruff"
    done = subprocess.run(
        [ruff, "check", "--select", "TID251", "--stdin-filename", "src/aid/x.py", "-"],
        input=code + "\n", cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TID251" in done.stdout


def test_no_method_that_pickles_is_called():
    """What an import rule cannot see: methods of accelerate, and arguments that allow pickle."""
    methods = {"load_state", "register_for_checkpointing", "save_model", "save_state"}
    arguments = {"allow_pickle", "weights_only", "safe_serialization"}
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                told = {keyword.arg for keyword in node.keywords} & arguments
                if name in methods or told:
                    found.append(f"{path.name}:{node.lineno} {name} {told}")
    assert not found


def test_nothing_is_unpickled_while_a_run_goes_on_and_no_file_is_a_pickle(tmp_path, monkeypatch):
    unpickled = []
    sys.addaudithook(lambda event, args: event == "pickle.find_class" and unpickled.append(args))
    parabola.run(tmp_path, config=replace(LONG, steps=2))
    parabola.run(tmp_path, config=replace(LONG, steps=4))
    assert not unpickled
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".jsonl", ".html"}
    for path in files:
        assert path.read_bytes()[:1] not in (b"\x80", b"P"), "a pickle, or a zip of pickles"
