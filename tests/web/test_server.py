"""The server as a process: password, clean-up, and what it refuses to start with."""

import subprocess
import sys
import time

import httpx
import pytest
from studio_server import PATIENCE, start_studio

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def locked(models, tiny_backbone):
    (models / "password").write_text(PASSWORD + "\n")
    server = start_studio(models, tiny_backbone, "--password_file", models / "password")
    yield server
    server.stop()


def test_without_the_password_nothing_can_be_asked_or_read(locked, picture):
    client = httpx.Client(base_url=locked.url, timeout=PATIENCE, verify=False)
    sent = {"files": ("a.png", picture)}
    assert client.post("/gradio_api/upload", files=sent).status_code == 401
    for path in (
        "config",
        "gradio_api/info",
        "gradio_api/queue/status",
        "gradio_api/file=/etc/passwd",
    ):
        assert client.get(f"/{path}").status_code in (401, 403), path
    for path in ("call/predict", "queue/join", "run/predict", "api/predict", "reset", "cancel"):
        assert client.post(f"/gradio_api/{path}", json={"data": []}).status_code >= 400, path
    page = client.get("/").text
    assert "tabletop-rules" not in page
    assert "studio" not in page.lower() or "password" in page.lower()
    started = time.monotonic()
    for wrong in ("", "correct hors", "x" * 10_000, PASSWORD + " "):
        answer = client.post("/login", data={"username": "me", "password": wrong})
        assert answer.status_code in (400, 422)
        assert not client.cookies
    assert time.monotonic() - started > 2  # guessing is slow


def test_a_cookie_is_for_this_site_only(locked):
    answer = httpx.post(f"{locked.url}/login", data={"username": "me", "password": PASSWORD})
    cookies = answer.headers.get_list("set-cookie")
    assert cookies
    assert all(cookie.count("SameSite") == 1 and "SameSite=Lax" in cookie for cookie in cookies)


def test_with_the_password_all_is_open_and_a_stop_leaves_nothing(locked, picture):
    client = httpx.Client(timeout=PATIENCE, verify=False)
    answer = client.post(f"{locked.url}/login", data={"username": "me", "password": PASSWORD})
    assert answer.status_code == 200
    frame = locked.upload("a.png", picture, client)
    model = f"{locked.models.name}/one"
    arguments = (frame, "lift the red ball", None, model, 1, 1, 2, 0)
    assert locked.call("predict", *arguments, client=client)[0] == "complete"
    started = client.post(
        f"{locked.url}/gradio_api/call/predict", json={"data": [*arguments[:4], 100, 1, 2, 0]}
    )
    assert started.status_code == 200
    time.sleep(0.5)  # it may have begun to draw by now, and may not
    assert len(locked.folders) == 1
    assert any(locked.folders[0].rglob("*.png"))
    assert locked.stop() == 0
    assert locked.folders == []
    assert "Traceback" not in locked.log.read_text()


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "aid.cli", "web", *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frames", "nowhere"], "'nowhere' holds no frames.json"),
        (["--names", "http://studio.example"], "is no name of a host"),
        (["--port", "70000"], "port must be from 0 to 65535"),
        (["--password_file", "{short}"], "has 5 characters. Use 8 or more"),
        (["--limits.num_steps", "0"], "limits.num_steps must be above 0"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_loaded(arguments, words, tmp_path):
    (tmp_path / "short").write_text("12345\n")
    done = run(*(a.format(short=tmp_path / "short") for a in arguments))
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
