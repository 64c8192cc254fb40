"""What every test may ask for: a tiny backbone on disk, its settings, a seeded generator."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from backbones import build_tiny_backbone
from videos import moving_square

from aid.config import AdapterConfig, DQFormerConfig, ModelConfig
from aid.data.manifest import write_manifest
from aid.types import State, VideoRow
from aid.video import write_mp4

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone folder with every part, small enough for a CPU; do not write into it."""
    return build_tiny_backbone(tmp_path_factory.mktemp("backbones") / "tiny")


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    """AID's settings for the tiny backbone."""
    return ModelConfig(
        num_frames=3,
        dqformer=DQFormerConfig(queries_per_frame=2, num_heads=2),
        adapter=AdapterConfig(long_term_heads=2),
    )


@pytest.fixture
def generator() -> torch.Generator:
    """Randomness that is the same in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def tiny_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos of three scenes, two instructions each, with states; do not write into it."""
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "videos").mkdir()
    rows = []
    for number in range(6):
        scene, way = divmod(number, 2)
        step, direction = (4, "right") if way else (-1, "left")
        write_mp4(
            folder / f"videos/{number}.mp4",
            moving_square(start=12 + 4 * scene, step=step),
            fps=4.0,
            lossless=True,
        )
        rows.append(
            VideoRow(
                id=f"push-{number}",
                video=f"videos/{number}.mp4",
                instruction=f"push the red ball {direction}",
                num_frames=5,
                fps=4.0,
                height=64,
                width=64,
                wordings=[f"push the red ball {direction}", f"push red {direction}"],
                states=[
                    State(text="the red ball", first_frame=0, last_frame=2),
                    State(text=f"ball {direction}", first_frame=3, last_frame=4),
                ],
                world={"scene": scene},
            )
        )
    write_manifest(folder, rows)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """With AID_REQUIRE_GL=1, AID_REQUIRE_CHROMIUM=1, AID_REQUIRE_WORLDS=1 (as in CI) or
    AID_REQUIRE_GPU=1 such a skipped test has failed."""
    report = yield
    for marker in ("gl", "chromium", "worlds", "gpu"):
        variable = f"AID_REQUIRE_{marker.upper()}"
        if marker == "gl" and item.get_closest_marker("worlds"):
            continue  # AID_REQUIRE_WORLDS decides on it
        if report.skipped and os.environ.get(variable) and item.get_closest_marker(marker):
            report.outcome = "failed"
            report.longrepr = f"{variable} is set and this test was skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="module")
def server():
    """Address of the unruly server, a process of its own that ends with its standard input."""
    script = Path(__file__).parent / "unruly_server.py"
    process = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.stdin.close()
    process.wait(60)


@pytest.fixture(autouse=True)
def usual_scheduling():
    """Where root runs it, SVT-AV1's encoder leaves its caller a real-time process, which starves
    whatever else runs on the machine, the tests' own servers and browsers included."""
    yield
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
