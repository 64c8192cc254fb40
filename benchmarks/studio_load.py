"""The studio under 60 requests at once, half of them with files made to harm: memory and waiting.

COMMAND  PYTHONPATH=tests python benchmarks/studio_load.py
HARDWARE any with Linux; TIME three minutes on two cores

Starts `aid web` with tiny models, so that drawing takes little. Every good visitor has an address
of its own (127.0.1.x); the hostile ones share three. First the good ones alone, then beside as many
busy loops as the studio has reading processes, then all together, then one who leaves while a
hostile file is read. Memory is the resident set of the server and of the processes that read
files, ten times a second.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import hostile
import httpx
import numpy as np
import psutil
from backbones import build_tiny_backbone
from PIL import Image
from studio_server import StudioServer, start_studio, write_models

from aid.config import AdapterConfig, DQFormerConfig, ModelConfig

CONFIG = ModelConfig(
    num_frames=3,
    dqformer=DQFormerConfig(queries_per_frame=2, num_heads=2),
    adapter=AdapterConfig(long_term_heads=2),
)
HOSTILE_ADDRESSES = 3
READER = "aid.video.confined_process"


@dataclass
class Memory:
    """Resident megabytes of the server and of its readers, watched by a thread."""

    process: psutil.Process
    server: list[float] = field(default_factory=list)
    readers: list[float] = field(default_factory=list)

    def look(self) -> None:
        """One measurement."""
        self.server.append(self.process.memory_info().rss / 1e6)
        total = 0.0
        for child in readers_of(self.process):
            try:
                total += child.memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                continue
        self.readers.append(total)

    def watch(self, stop: threading.Event) -> None:
        """Measures until `stop`."""
        while not stop.wait(0.1):
            self.look()


def readers_of(process: psutil.Process) -> list[psutil.Process]:
    """The processes in which a studio reads files."""
    found = []
    for child in process.children():
        try:
            if READER in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def picture() -> bytes:
    """A PNG of the model's size."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def hostile_files(folder: Path) -> dict[str, bytes]:
    """Files that cost time or memory to read."""
    return {
        "tables.mp4": hostile.endless_tables(folder / "a.mp4"),
        "fragment.mp4": hostile.endless_fragment(folder / "b.mp4"),
        "scans.jpg": hostile.repeated_scans(times=120_000, size=900),
        "texts.png": hostile.many_texts(),
        "pictures.gif": hostile.many_pictures(),
        "animation.png": hostile.endless_animation(),
        "frames.webp": hostile.endless_webp(),
        "pixels.png": hostile.png(30_000, 30_000),
        "pixels.jpg": hostile.jpeg(65_500, 65_500),
        "zip.png": hostile.text_bomb(),
    }


def client_from(address: str) -> httpx.Client:
    """A visitor with an address of its own."""
    transport = httpx.HTTPTransport(local_address=address, verify=False)
    return httpx.Client(transport=transport, timeout=600)


def ask(studio: StudioServer, address: str, name: str, content: bytes) -> tuple[str, str, float]:
    """How a prediction ends, what is said of a failure, and the seconds it took."""
    with client_from(address) as client:
        started = time.monotonic()
        try:
            file = studio.upload(name, content, client=client)
            model = f"{studio.models.name}/one"
            data = (file, "lift the red ball", None, model, 1, 1, 1, 0)
            event, answer = studio.call("predict", *data, client=client)
        except httpx.HTTPStatusError as error:
            event, answer = "refused", {"error": error.response.text}
        said = (
            ""
            if event == "complete"
            else str(answer["error"] if isinstance(answer, dict) else answer)
        )
        return event, said, time.monotonic() - started


def together(calls: list[Callable[[], tuple[str, str, float]]]) -> list[tuple[str, str, float]]:
    """The ends of calls that are made at once."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def seconds_of(ends: list[tuple[str, str, float]]) -> dict[str, float]:
    """Median and longest."""
    seconds = [end[2] for end in ends]
    return {"median": round(statistics.median(seconds), 2), "longest": round(max(seconds), 2)}


def leave(studio: StudioServer, content: bytes) -> float:
    """Seconds from a visitor's leaving to the end of the process that reads the visitor's file."""
    process = psutil.Process(studio.process.pid)
    with client_from("127.0.3.1") as client:
        file = studio.upload("scans.jpg", content, client=client)
        body = {"data": [file, "lift it", None, f"{studio.models.name}/one", 1, 1, 1, 0]}
        api = f"{studio.url}/gradio_api/call/predict"
        before = {child.pid: sum(child.cpu_times()[:2]) for child in readers_of(process)}
        event = client.post(api, json=body).json()["event_id"]
        with client.stream("GET", f"{api}/{event}"):
            busy = None
            while busy is None:
                time.sleep(0.05)
                for child in readers_of(process):
                    if sum(child.cpu_times()[:2]) - before.get(child.pid, 0.0) > 0.3:
                        busy = child
        left = time.monotonic()
    while busy.is_running() and busy.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)
    return time.monotonic() - left


def main() -> None:
    """Measures and prints; the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=60, help="half of them hostile")
    options = parser.parse_args()
    half = options.requests // 2
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        backbone = build_tiny_backbone(folder / "backbone")
        write_models(folder, backbone, CONFIG)
        files = list(hostile_files(folder).items())
        limits = ["--limits.waiting", str(options.requests), "--limits.kept_megabytes", "4096"]
        studio = start_studio(folder, backbone, *limits)
        try:
            report = measure(studio, half, files)
        finally:
            studio.stop()
    print(json.dumps(report))


def measure(studio: StudioServer, half: int, files: list[tuple[str, bytes]]) -> dict:
    """The figures of one studio."""
    memory, stop = Memory(psutil.Process(studio.process.pid)), threading.Event()
    ask(studio, "127.0.1.1", "frame.png", picture())
    good = [
        lambda n=n: ask(studio, f"127.0.1.{n + 2}", "frame.png", picture()) for n in range(half)
    ]
    bad = [
        lambda n=n: ask(studio, f"127.0.2.{n % HOSTILE_ADDRESSES + 1}", *files[n % len(files)])
        for n in range(half)
    ]
    alone = together(good)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    busy = together(good)
    for loop in loops:
        loop.kill()
        loop.wait()
    time.sleep(1)
    memory.look()
    watcher = threading.Thread(target=memory.watch, args=(stop,))
    watcher.start()
    ends = together(bad + good)
    stop.set()
    watcher.join()
    peak = max(memory.server), max(memory.readers)
    time.sleep(2)
    memory.look()
    report = {
        "good alone, s": seconds_of(alone),
        "good beside busy loops, s": seconds_of(busy),
        "good beside the hostile, s": seconds_of(ends[half:]),
        "good, ends": Counter(end[1] or end[0] for end in ends[half:]),
        "hostile, s": seconds_of(ends[:half]),
        "hostile, said": Counter(end[1] for end in ends[:half]),
        "server MB, before, peak, after": [memory.server[0], peak[0], memory.server[-1]],
        "readers MB, before, peak, after": [memory.readers[0], peak[1], memory.readers[-1]],
        "seconds from leaving to the end of the reader": leave(studio, dict(files)["scans.jpg"]),
    }
    for name, value in report.items():
        print(f"{name}: {value}", flush=True)
    return report


if __name__ == "__main__":
    main()
