"""`aid web` in a process of its own, with tiny models, for the tests of the page."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from checkpoints import write_tiny_model
from memory_use import resident

from aid.config import ModelConfig

# Seconds; a busy machine is slow, not wrong.
PATIENCE = float(os.environ.get("STUDIO_PATIENCE", "300"))


@dataclass
class StudioServer:
    """A running studio. `temporary` is where it may put files, `log` what it printed."""

    url: str
    process: subprocess.Popen
    temporary: Path
    log: Path
    models: Path
    # One for all, because making one reads every certificate of the machine.
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=PATIENCE, verify=False)
    )

    @property
    def folders(self) -> list[Path]:
        """The folders it made for uploads and results."""
        return sorted(self.temporary.glob("aid-studio-*"))

    def peak_memory(self) -> int:
        """The most memory it ever held, in bytes."""
        return resident("VmHWM", self.process.pid)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE)

    def upload(self, name: str, content: bytes, client: httpx.Client | None = None) -> dict:
        """A file as Gradio's clients send it."""
        answer = (client or self.client).post(
            f"{self.url}/gradio_api/upload", files={"files": (name, content)}
        )
        answer.raise_for_status()
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, *data, client: httpx.Client | None = None) -> tuple[str, object]:
        """(event, data): "complete" and the outputs, or "error" and what the client is told."""
        client = client or self.client
        started = client.post(
            f"{self.url}/gradio_api/call/{name}",
            content=json.dumps({"data": data}),
            headers={"Content-Type": "application/json"},
        )
        if started.status_code != 200:
            return "error", started.text
        events = client.get(f"{self.url}/gradio_api/call/{name}/{started.json()['event_id']}").text
        last = events.strip().split("\n\n")[-1]
        event, _, answer = last.partition("\n")
        return event.removeprefix("event: "), json.loads(answer.removeprefix("data: "))


def write_models(folder: Path, backbone: Path, config: ModelConfig) -> None:
    """`one`, and a `rival` of half its size that was trained without states."""
    write_tiny_model(folder / "one", backbone, config)
    write_tiny_model(folder / "rival", backbone, config, state_writer="none")
    file = folder / "rival" / "config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"height": 32, "width": 32}))


def start_studio(
    folder: Path, backbone: Path, *flags: str, program: Sequence[str] = ("-m", "aid.cli")
) -> StudioServer:
    """Starts `aid web` with the models in `folder` and waits until it answers."""
    temporary = folder / f"temporary-{len(list(folder.glob('temporary-*')))}"
    temporary.mkdir()
    log = temporary / "log.txt"
    arguments = ["web", "--model", folder / "one", "--backbone", backbone, "--port", "0"]
    arguments += flags
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    started = time.monotonic()
    while "http://" not in log.read_text():
        assert process.poll() is None, log.read_text()
        if time.monotonic() - started > PATIENCE:
            process.kill()
            raise TimeoutError(log.read_text())
        time.sleep(0.1)
    url = "http://" + log.read_text().split("http://")[1].split()[0].rstrip("/")
    return StudioServer(url, process, temporary, log, folder)
