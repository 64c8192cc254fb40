import base64
import io
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from PIL import Image

from aid.conditioning.addresses import language_model_writer
from aid.conditioning.language_model import read_answers
from aid.conditioning.server import StateServerError, delay, headers_for, retry_after
from aid.config import AskingConfig

FRAME = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
PATIENT = AskingConfig(timeout=60.0, first_wait=0.0, max_tries=3, concurrency=2)
HASTY = AskingConfig(timeout=0.3, first_wait=0.0, max_tries=2, concurrency=2)


def get(server, path="/log"):
    with urllib.request.urlopen(server + path, timeout=60) as answer:
        return json.loads(answer.read())


def requests_to(server, model):
    return [request for request in get(server) if request["model"] == model]


def ask(server, model, *said, config=PATIENT, options="?states=2", answers_file=None):
    writer = language_model_writer(f"server:{server}/v1#{model}{options}", answers_file, config)
    return writer.ask([FRAME] * len(said), list(said))


def states(said):
    return [f"It begins with {said}", "It is done"]


def test_the_request_has_frame_and_instruction_and_the_answer_becomes_states(server):
    assert [one.states for one in ask(server, "good", "a push", "a lift")] == [
        states("a push"),
        states("a lift"),
    ]
    body = requests_to(server, "good")[0]["body"]
    image, question = body["messages"][-1]["content"]
    sent = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.array(Image.open(io.BytesIO(sent))), FRAME)
    assert "exactly 2 numbered lines" in question["text"]
    assert (body["temperature"], body["seed"]) == (0, 0)


def test_a_text_model_gets_an_example_and_no_frame(server):
    said = ask(server, "parts", "a push", options="?states=2&sees=text")
    assert said[0].states == ["It begins", "Done"]
    turns = requests_to(server, "parts")[0]["body"]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert all(isinstance(turn["content"], str) for turn in turns)


def test_the_request_has_a_json_schema_if_the_server_accepts_one(server):
    assert ask(server, "schema", "a push")[0].states == states("a push")


def test_a_server_without_schemas_gets_one_request_with_a_schema_only(server):
    said = ask(server, "no_schema", *"abcdef", config=AskingConfig(concurrency=1))
    assert [one.states for one in said] == [states(letter) for letter in "abcdef"]
    shaped = ["response_format" in r["body"] for r in requests_to(server, "no_schema")]
    assert shaped == [True] + [False] * 6


@pytest.mark.parametrize(
    ("model", "tries"), [("busy", 3), ("flaky", 2), ("cut", 2), ("hang_up", 2)]
)
def test_temporary_failures_are_tried_again(server, model, tries):
    assert ask(server, model, "a push")[0].states == states("a push")
    assert len(requests_to(server, model)) == tries


@pytest.mark.parametrize(
    ("model", "words", "config"),
    [
        ("down", "503 down for the night (tried 3 times)", PATIENT),
        ("garbage", "no chat completion but <html>", PATIENT),
        ("wrong", 'no chat completion but {"choices"', PATIENT),
        ("deep", "no chat completion but [[[", PATIENT),
        ("huge", "more than 1 MiB", PATIENT),
        ("slow", "Timeout", HASTY),
        ("drip", "took more than 0.3 s", HASTY),
    ],
)
def test_permanent_failures_are_reported_with_the_reason(server, model, words, config):
    said = ask(server, model, "a push", config=config)[0]
    assert (said.states, said.failure) == ([], "no answer")
    assert words in said.detail
    assert len(said.detail) < 300


def test_an_empty_answer_and_a_refusal_count_as_answers(server, tmp_path):
    kinds = [
        one.failure for one in ask(server, "silent", "a push", answers_file=tmp_path / "a" / "b")
    ]
    kinds += [
        one.failure for one in ask(server, "nothing", "a push", answers_file=tmp_path / "a" / "b")
    ]
    assert kinds == ["empty", "refusal"]
    assert len(read_answers(tmp_path / "a" / "b")) == 2


def test_one_refused_question_does_not_stop_the_others(server, tmp_path):
    said = ask(server, "picky", "one", "a bad one", "two", answers_file=tmp_path / "answers")
    assert [one.failure for one in said] == ["", "no answer", ""]
    assert "the image is broken" in said[1].detail
    assert len(read_answers(tmp_path / "answers")) == 2, (
        "a failure is not written down as an answer"
    )


def test_a_server_that_is_down_stops_the_run_and_all_answers_are_stored(server, tmp_path):
    with pytest.raises(
        StateServerError, match=r"3 questions in a row.*503.*All answers are stored"
    ):
        ask(server, "down", *"abcdefgh", answers_file=tmp_path / "answers")


def test_an_address_without_a_server_is_a_failure():
    said = ask("http://127.0.0.1:9", "good", "a push")[0]
    assert "ConnectError" in said.detail


def test_an_unknown_model_is_refused_at_once(server):
    with pytest.raises(ValueError, match=r"'nobody' \(404 .*usually ends in /v1"):
        ask(server, "nobody", "a", "b", "c")


def test_the_key_comes_from_the_environment_and_a_missing_one_is_named(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="export OPENAI_API_KEY"):
        ask(server, "locked", "a")
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server}/v1")
    assert ask(server, "locked", "a")[0].states == states("a")


@pytest.mark.parametrize(
    "owner", [None, "https://api.openai.com/v1", "{other}", "http://127.0.0.1/v1"]
)
def test_the_key_goes_to_no_other_host_than_the_one_it_is_for(server, monkeypatch, owner):
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    if owner is not None:
        monkeypatch.setenv(
            "OPENAI_BASE_URL", owner.format(other=server.replace("127.0.0.1", "localhost"))
        )
    with pytest.raises(ValueError, match=r"sent to .* only.*export OPENAI_BASE_URL=http://127"):
        ask(server, "locked", "a")
    assert requests_to(server, "locked")[-1]["key"] is None


@pytest.mark.parametrize(
    ("url", "owner", "is_sent"),
    [
        ("https://api.openai.com/v1", None, True),
        ("https://API.OpenAI.com:443/v1", None, True),
        ("http://api.openai.com/v1", None, False),
        ("https://api.openai.com.evil.net/v1", None, False),
        ("https://api.openai.com./v1", None, False),
        ("https://api.openai.com:444/v1", None, False),
        ("https://evil.net/v1?https://api.openai.com", None, False),
        ("https://mine.net/v1", "https://mine.net/elsewhere", True),
        ("https://api.openai.com/v1", "https://mine.net/v1", False),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", "http://[::1]:8000", True),
        ("http://localhost:8000/v1", "http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1", False),
    ],
)
def test_the_key_is_bound_to_scheme_host_and_port(url, owner, is_sent, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    monkeypatch.setenv("OPENAI_BASE_URL", owner or "")
    assert ("Authorization" in headers_for(url)) is is_sent


@pytest.mark.parametrize(
    "host", ["mine.net", "127.0.0.1.evil.net", "localhost.evil.net", "10.0.0.1"]
)
def test_a_key_is_not_sent_unencrypted(host, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://{host}:8000/v1")
    with pytest.raises(ValueError, match="would be sent unencrypted"):
        headers_for(f"http://{host}:8000/v1")


def test_a_redirect_is_not_followed(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server}/v1")
    with pytest.raises(ValueError, match=r"has no chat completions.*302"):
        ask(server, "redirects", "a")
    assert requests_to(server, "good_after_redirect") == []


@pytest.mark.parametrize("model", ["slow", "drip", "letters", "hints", "drip_of_hints"])
def test_one_deadline_holds_for_the_whole_exchange(server, model):
    config = AskingConfig(timeout=0.5, first_wait=0.0, max_tries=1, concurrency=1)
    start = time.monotonic()
    said = ask(server, model, "a push", config=config)[0]
    assert time.monotonic() - start < 5
    assert "it took more than 0.5 s" in said.detail


@pytest.mark.parametrize("model", ["steering_error", "steering_header", "steering_page"])
def test_a_server_cannot_control_the_terminal(server, model):
    said = ask(server, model, "a push", config=HASTY)[0]
    assert said.failure == "no answer"
    assert said.detail.isprintable(), said.detail


def test_a_servers_refusal_cannot_control_the_terminal(server):
    with pytest.raises(ValueError) as error:
        ask(server, "steering_refusal", "a push")
    assert str(error.value).isprintable()


def test_states_have_no_control_characters(server):
    (said,) = ask(server, "steering_states", "a push")
    assert len(said.states) == 2
    assert all(state.isprintable() for state in said.states)


def test_the_number_of_concurrent_requests_is_limited(server):
    config = AskingConfig(concurrency=3)
    said = ask(server, "crowd", *"abcdefghi", config=config)
    assert {one.states[0] for one in said} == {"At most 3 at once"}
    assert [one.states[1] for one in said] == list("abcdefghi"), "in the order of the questions"


KILLED = """
import sys
import numpy as np
from pathlib import Path
from aid.conditioning.addresses import language_model_writer
from aid.config import AskingConfig
writer = language_model_writer(sys.argv[1], Path(sys.argv[2]), AskingConfig(concurrency=1))
writer.ask([np.zeros((4, 4, 3), np.uint8)] * 6, list("abcdef"))
"""


def test_a_killed_run_repeats_no_request(server, tmp_path):
    name, answers_file = f"server:{server}/v1#stalls?states=2", tmp_path / "answers.jsonl"
    process = subprocess.Popen([sys.executable, "-c", KILLED, name, str(answers_file)])
    for _ in range(1200):  # until the server stalls at the fourth
        if len(requests_to(server, "stalls")) == 4:
            break
        threading.Event().wait(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert len(read_answers(answers_file)) == 3
    with answers_file.open("a") as file:
        file.write('{"key": "torn by the ki')
    get(server, "/open")
    again = language_model_writer(name, answers_file, AskingConfig(concurrency=1))
    said = again.ask([np.zeros((4, 4, 3), np.uint8)] * 6, list("abcdef"))
    assert [one.states for one in said] == [states(letter) for letter in "abcdef"]
    asked = [request["said"] for request in requests_to(server, "stalls")]
    assert asked == ["a", "b", "c", "d", "d", "e", "f"], "only the one in flight is asked again"
    assert len(read_answers(answers_file)) == 6


def test_the_server_may_set_the_delay_in_seconds_or_by_date():
    assert (retry_after("7"), retry_after("0.5"), retry_after("-3")) == (7, 0.5, 0)
    assert retry_after(None) is retry_after("soon") is retry_after("") is None
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3000 < retry_after(later) <= 3600
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_delays_double_up_to_one_minute():
    assert delay(7.0, 0, 1.0) == 7
    assert delay(86400.0, 0, 1.0) == 60
    for attempt in range(12):
        expected = min(2.0**attempt, 60)
        assert 0.75 * expected <= delay(None, attempt, 1.0) <= 1.25 * expected
