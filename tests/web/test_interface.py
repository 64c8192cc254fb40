"""The HTTP interface: good calls, wrong calls and hostile ones."""

import contextlib
import io
import json
import math
import re
import shutil
import subprocess
import time
from pathlib import Path

import faulty_studio
import hostile
import httpx
import numpy as np
import pytest
from memory_use import resident
from PIL import Image

from aid.video import read_video
from aid.web.studio import CRASHED

SAID = "lift the red ball"
LEAKS = ("Traceback", 'File "', "site-packages", "/aid/", "aid-studio-", ".py")


@pytest.fixture(scope="module")
def frame(studio, picture):
    return studio.upload("frame.png", picture)


def fetched(studio, file):
    """A result's bytes, through the address that the client is given."""
    answer = studio.client.get(file["url"])
    answer.raise_for_status()
    return answer.content


def test_a_prediction_is_three_files_and_how_they_were_made(studio, frame, tmp_path):
    event, outputs = studio.call(
        "predict", frame, SAID, None, f"{folder(studio)}/one", 2, 1.5, 2, 7
    )
    assert event == "complete"
    mp4, gif, sheet, facts = outputs
    (tmp_path / "a.mp4").write_bytes(fetched(studio, mp4))
    assert read_video(tmp_path / "a.mp4").shape == (3, 64, 64, 3)
    assert Image.open(io.BytesIO(fetched(studio, gif))).n_frames == 3
    assert Image.open(io.BytesIO(fetched(studio, sheet))).width > 64
    assert facts["states"][-1] == "the red ball is held in the air"
    assert facts["state_writer"] == "tabletop-rules"
    assert facts["settings"] == {
        "num_steps": 2, "image_guidance": 1.5, "text_guidance": 2.0, "seed": 7,
    }  # fmt: skip


def folder(studio):
    return studio.models.name


@pytest.mark.parametrize("states", [["drop it", "stop"], [], "then stop"])
def test_given_states_are_used_word_for_word_and_make_a_difference(studio, frame, states):
    facts = studio.call("predict", frame, SAID, states, f"{folder(studio)}/one", 1, 1, 2, 0)[1][3]
    assert facts["states"] == ([states] if isinstance(states, str) else states)
    assert facts["state_writer"] == "caller"


def test_each_checkpoint_has_its_own_states_and_size(studio, frame):
    event, outputs = studio.call(
        "compare", frame, "checkpoints", SAID, None, None, f"{folder(studio)}/one", 1, 1, 2, 0
    )
    assert event == "complete"
    one, rival = outputs[1]
    assert (one["model"], rival["model"]) == (f"{folder(studio)}/one", f"{folder(studio)}/rival")
    assert one["states"][-1] == "the red ball is held in the air"
    assert (rival["states"], rival["state_writer"]) == ([], "none")


def test_the_other_comparisons(studio, frame):
    def facts(kind, options, instruction=SAID):
        event, outputs = studio.call(
            "compare", frame, kind, instruction, options, None, f"{folder(studio)}/one", 1, 1, 2, 0
        )
        assert event == "complete", outputs
        return outputs[1]

    said = facts("instructions", ["push the red can to the left", "grab the red can"], "")
    assert [one["instruction"] for one in said] == [
        "push the red can to the left",
        "grab the red can",
    ]
    assert said[1]["understood"] == "pick up the red can"
    true, shuffled, empty = facts("words", "push the red can to the left")
    assert (true["instruction"], shuffled["instruction"], empty["instruction"]) == (
        SAID, "push the red can to the left", "",
    )  # fmt: skip
    assert true["states"]
    assert empty["states"] == []
    grid = facts("guidance", {"s_V": [1, 2], "s_T": "1, 4"})
    assert [(g["settings"]["image_guidance"], g["settings"]["text_guidance"]) for g in grid] == [
        (1, 1), (1, 4), (2, 1), (2, 4),
    ]  # fmt: skip


BAD_VALUES = [
    None, True, -1, 10**400, 1e308, "x", "5", "\x00", "a" * 100_000, [], [[[]]], {}, {"a": {}},
    ["b"] * 10_000, "../../etc/passwd", "‮",
]  # fmt: skip


def refusals(studio, frame):
    """Calls that must be refused, as (name, data)."""
    good = [frame, SAID, None, f"{folder(studio)}/one", 1, 1, 2, 0]
    for place in range(len(good)):
        for value in BAD_VALUES:
            is_fine = (
                (
                    place == 1
                    and isinstance(value, str)
                    and value.strip("\x00 ")
                    and len(value) < 300
                )
                or (place == 2 and (value is None or (isinstance(value, str) and len(value) < 300)))
                or (place == 2 and isinstance(value, list) and value in ([],))
            )
            if not is_fine:
                yield "predict", [*good[:place], value, *good[place + 1 :]]
    paths = [
        "/etc/passwd", "../../../etc/passwd", f"{frame['path']}/../../../../etc/passwd",
        str(studio.log), str(studio.models / "one" / "config.json"),
        "http://127.0.0.1:9/a.png", "file:///etc/passwd", "//etc/passwd", "/proc/self/environ",
        "\x00", "", str(studio.folders[0]), frame["path"] + ".gone",
    ]  # fmt: skip
    for path in paths:
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for extra in ({}, {"url": path}, {"is_stream": True}):
            yield "predict", [file | extra, *good[1:]]
    for kind, options in [
        ("x", None), (None, None), ([], []), ("guidance", {}),
        ("guidance", {"s_V": "1", "s_T": {}}),
        ("guidance", {"s_V": [1, 2, 3, 4], "s_T": [1, 2, 3, 4]}), ("words", SAID), ("words", ""),
        ("instructions", ["one"]), ("instructions", ["a"] * 7), ("instructions", 10**400),
    ]:  # fmt: skip
        yield "compare", [frame, kind, SAID, options, None, *good[3:]]
    yield from [("predict", []), ("predict", [1]), ("states", [None, 5]), ("compare", [None] * 99)]


def test_nonsense_is_refused_without_internals_and_the_studio_goes_on(studio, frame):
    sentences = 0
    for name, data in refusals(studio, frame):
        event, answer = studio.call(name, *data)
        assert event == "error", (name, str(data)[:200], answer)
        text = json.dumps(answer)
        assert not [leak for leak in LEAKS if leak in text], (name, str(data)[:200], text[:300])
        assert len(text) < 2000
        assert isinstance(answer, str) or answer["error"], (name, str(data)[:200])
        sentences += isinstance(answer, dict)
    assert sentences > 150  # the others are refused before they are queued
    assert studio.call("states", None, SAID)[0] == "complete"


def test_hostile_files_are_refused_and_memory_stays_bounded(studio, picture, tmp_path):
    before = studio.peak_memory()
    files = {
        **hostile.FORBIDDEN,
        "bomb.png": hostile.png(30000, 30000),
        "text.png": hostile.text_bomb(),
        "bomb.jpg": hostile.jpeg(65500, 65500),
        "bomb.gif": hostile.gif(65535, 65535),
        "liar.mp4": hostile.lying_video(tmp_path / "a", 1200, said=64),
        "long.mp4": hostile.video(tmp_path / "b", 32, num_frames=10, fps=1.0),
    }
    model = f"{folder(studio)}/one"
    for name, content in files.items():
        sent = studio.upload(name, content or b"\n")
        event, answer = studio.call("predict", sent, SAID, None, model, 1, 1, 2, 0)
        assert event == "error", name
        assert re.search("neither|pixels|damaged|lasts|does not say", answer["error"]), answer
        assert not [leak for leak in LEAKS if leak in json.dumps(answer)]
    assert studio.peak_memory() - before < 100_000_000
    for content in (picture, hostile.video(tmp_path / "c", 64)):
        sent = studio.upload("anything", content)
        assert studio.call("predict", sent, SAID, None, model, 1, 1, 2, 0)[0] == "complete"


def test_requests_that_are_too_large_are_refused_before_they_are_read(studio):
    answer = studio.client.post(
        f"{studio.url}/gradio_api/upload", files={"files": ("a.png", bytes(3_000_000))}
    )
    assert answer.status_code == 413
    assert "too large" in answer.text
    many = [("files", (f"{i}.png", bytes(500_000))) for i in range(6)]
    assert studio.client.post(f"{studio.url}/gradio_api/upload", files=many).status_code == 413

    def pieces():
        for _ in range(40):
            yield bytes(100_000)

    for path in ("gradio_api/call/predict", "gradio_api/queue/join", "gradio_api/run/predict"):
        # In pieces, so that no length is known; hanging up is as good an answer.
        with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
            assert studio.client.post(f"{studio.url}/{path}", content=pieces()).status_code in (
                400,
                413,
            )
    assert studio.client.get(studio.url).status_code == 200


def test_no_path_of_the_server_is_served(studio, frame):
    secret = str(studio.models / "one" / "config.json")
    paths = [
        "/etc/passwd", secret, "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "/proc/self/environ",
        f"{Path(frame['path']).parent}/../../../etc/passwd", str(studio.log),
        f"{studio.folders[0]}/../log.txt", "pyproject.toml", str(Path(__file__)),
    ]  # fmt: skip
    for path in paths:
        for route in (
            "gradio_api/file=",
            "file=",
            "gradio_api/stream/",
            "static/",
            "assets/",
            "theme/",
        ):
            answer = studio.client.get(f"{studio.url}/{route}{path}")
            assert answer.status_code >= 400, (route, path)
            assert "root:" not in answer.text
            assert "Traceback" not in answer.text
    assert (
        studio.client.get(f"{studio.url}/gradio_api/proxy=http://127.0.0.1:9/").status_code >= 400
    )


def test_another_sites_name_for_this_address_is_refused(studio):
    for headers in ({"Host": "evil.example:80"}, {"X-Forwarded-Host": "evil.example"}):
        answer = studio.client.get(studio.url, headers=headers)
        assert answer.status_code == 403
        assert "evil" not in answer.text


def test_another_sites_page_uploads_nothing(studio, picture):
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": studio.url}, 200),
        ({}, 200),
    ):
        answer = studio.client.post(
            f"{studio.url}/gradio_api/upload", files={"files": ("a.png", picture)}, headers=headers
        )
        assert answer.status_code == status, headers


@pytest.mark.parametrize("words", [*faulty_studio.IN_SAMPLING, faulty_studio.IN_WRITING])
def test_a_crash_is_one_sentence_and_the_next_request_works(studio, frame, words):
    settings = (None, f"{folder(studio)}/one", 2, 1, 2, 0)
    for name, before in (("predict", [frame, words]), ("compare", [frame, "words", words, SAID])):
        event, answer = studio.call(name, *before, *settings)
        assert (event, answer["error"]) == ("error", CRASHED)
        assert not [leak for leak in LEAKS if leak in json.dumps(answer)]
        assert faulty_studio.SECRET not in json.dumps(answer)
    assert faulty_studio.SECRET in studio.log.read_text()  # the log has the details
    assert studio.call("predict", frame, SAID, *settings)[0] == "complete"


@pytest.mark.parametrize("way", ["curl", "curl, at once", "Gradio's client"])
def test_a_caller_who_disconnects_delays_nobody(studio, frame, way):
    """The request that is left would never end by itself."""
    endless = [frame, faulty_studio.ENDLESS, None, f"{folder(studio)}/one", 2, 1, 2, 0]
    api, begun = f"{studio.url}/gradio_api", studio.log.read_text().count(faulty_studio.BEGUN)
    if way == "Gradio's client":
        config = studio.client.get(f"{studio.url}/config").json()
        (number,) = [d["id"] for d in config["dependencies"] if d["api_name"] == "predict"]
        body = {"data": endless, "fn_index": number, "session_hash": "leaver"}
        studio.client.post(f"{api}/queue/join", json=body).raise_for_status()
        stream = f"{api}/queue/data?session_hash=leaver"
    else:
        call = studio.client.post(f"{api}/call/predict", json={"data": endless}).json()
        stream = f"{api}/call/predict/{call['event_id']}"
    with studio.client.stream("GET", stream) as answer:
        assert answer.status_code == 200
        while way != "curl, at once" and begun == studio.log.read_text().count(faulty_studio.BEGUN):
            time.sleep(0.05)
    assert studio.call("predict", frame, SAID, *endless[2:])[0] == "complete"


def test_a_good_request_does_not_wait_for_a_hostile_file(studio, frame):
    """The hostile one is given up only when its visitor leaves: it takes no turn meanwhile."""
    file = studio.upload("frame.jpg", hostile.repeated_scans(times=120_000, size=900))
    api, model = f"{studio.url}/gradio_api", f"{folder(studio)}/one"
    body = {"data": [file, SAID, None, model, 1, 1, 1, 0]}
    before = resident("VmRSS", studio.process.pid)
    call = studio.client.post(f"{api}/call/predict", json=body).json()
    with studio.client.stream("GET", f"{api}/call/predict/{call['event_id']}") as answer:
        assert answer.status_code == 200
        assert studio.call("predict", frame, SAID, None, model, 1, 1, 1, 0)[0] == "complete"
        assert studio.call("states", frame, SAID)[0] == "complete"
        assert "event: " not in next(answer.iter_text()).replace("event: heartbeat", "")
    assert resident("VmHWM", studio.process.pid) - before < 300e6
    assert studio.call("predict", frame, SAID, None, model, 1, 1, 1, 0)[0] == "complete"


def test_the_documented_curl_example_runs(studio, picture, tmp_path):
    """Line for line, but for the address and the model's name."""
    if not (shutil.which("curl") and shutil.which("bash")):
        pytest.skip("curl is not installed (apt-get install curl)")
    page = (Path(__file__).parents[2] / "docs" / "studio.md").read_text()
    (example,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    example = example.replace("http://127.0.0.1:7860", studio.url)
    example = example.replace("MODEL=tabletop", f"MODEL={folder(studio)}/one")
    (tmp_path / "frame.png").write_bytes(picture)
    done = subprocess.run(
        ["bash", "-e", "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "event: complete" in done.stdout
    answer = json.loads(done.stdout.strip().splitlines()[-1].removeprefix("data: "))
    assert fetched(studio, answer[0])[4:8] == b"ftyp"


def test_the_documented_python_example_runs(studio, picture, tmp_path, monkeypatch):
    """Word for word, but for the address."""
    page = (Path(__file__).parents[2] / "docs" / "studio.md").read_text()
    (tmp_path / "frame.png").write_bytes(picture)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    example = example.replace("http://127.0.0.1:7860", studio.url)
    names: dict = {}
    exec(compile(example, "docs/studio.md", "exec"), names)
    assert read_video(Path(names["mp4"])).shape == (3, 64, 64, 3)
    assert np.isfinite(math.fsum(names["facts"]["settings"].values()))
