"""One studio for all tests of the page and of the HTTP interface, and one browser."""

import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import faulty_studio
import numpy as np
import pytest
from PIL import Image
from studio_server import PATIENCE, start_studio, write_models
from videos import moving_square
from visitor import WIDE

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def models(tiny_backbone, tiny_config, tmp_path_factory):
    """A folder with two tiny models that differ in size and state writer."""
    folder = tmp_path_factory.mktemp("studio")
    write_models(folder, tiny_backbone, tiny_config)
    return folder


@pytest.fixture(scope="session")
def example_frames(tmp_path_factory):
    """A folder with two example frames and their instructions."""
    folder = tmp_path_factory.mktemp("frames")
    rows = []
    for number, instruction in enumerate(["push the red ball to the right", "lift the red ball"]):
        Image.fromarray(moving_square()[number]).save(folder / f"{number}.png")
        rows.append({"file": f"{number}.png", "instructions": [instruction, f"{instruction} now"]})
    (folder / "frames.json").write_text(json.dumps({"frames": rows}))
    return folder


@pytest.fixture(scope="session")
def studio(models, tiny_backbone, example_frames):
    """A running studio with small limits and two models.

    Some instructions break it (`faulty_studio`).
    """
    server = start_studio(
        models, tiny_backbone, "--rival", models / "rival", "--rival_backbone", tiny_backbone,
        "--frames", example_frames, "--limits.megabytes", "2", "--limits.megapixels", "1",
        "--limits.seconds", "5", "--limits.num_steps", "5000", "--limits.reading_seconds", "120",
        program=[faulty_studio.__file__],
    )  # fmt: skip
    yield server
    server.stop()


@pytest.fixture(scope="session")
def picture():
    """A PNG of the models' size."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium without a window; the tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def visit(studio, browser):
    """Opens the page as somebody new."""
    contexts = []

    def open_page(size=WIDE, query=""):
        context = browser.new_context(viewport=size, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(studio.url + query)
        page.wait_for_selector("#predict")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def screenshots():
    """Where pictures of the page are kept to be looked at; printed at the end."""
    folder = Path(os.environ.get("AID_SCREENSHOTS") or tempfile.mkdtemp(prefix="aid-screenshots-"))
    folder.mkdir(exist_ok=True, parents=True)
    yield folder
    print(f"\nscreenshots of the studio: {folder}")
