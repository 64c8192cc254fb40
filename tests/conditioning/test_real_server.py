"""Against `transformers serve`: an OpenAI-compatible server, a process of its own, a real model."""

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from language_models import FRAMES, VERBS, answer

from aid.conditioning.answers import read_answer
from aid.conditioning.states import choose_state_writer
from aid.config import AskingConfig


@pytest.fixture
def served(llava):
    """The address of a server with the tiny vision-language model."""
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "transformers", "serve", str(llava)]
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
        yield f"http://127.0.0.1:{port}/v1#{llava}"
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_a_real_server_shows_a_real_model_the_frame_and_says_states(served):
    """The model has learnt what to say to which frame and instruction."""
    cases = [(colour, said) for said in VERBS for colour in FRAMES]
    config = AskingConfig(timeout=300.0, concurrency=2)
    writer = choose_state_writer(f"server:{served}?states=2", asking=config)
    said = writer.tell([FRAMES[colour] for colour, _ in cases], [said for _, said in cases])
    assert [one.detail for one in said] == [""] * 4
    assert [one.states for one in said] == [read_answer(answer(*case), 2) for case in cases]
