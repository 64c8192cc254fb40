import pytest
import torch

from aid.conditioning.addresses import language_model_writer, parse_address
from aid.conditioning.states import choose_state_writer


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("vlm:llava-hf/llava-1.5-7b-hf", "vlm:llava-hf/llava-1.5-7b-hf?prompt=1"),
        ("vlm:a/b@abc123?bits=4&states=6", "vlm:a/b@abc123?prompt=1&states=6&bits=4"),
        ("vlm:a/b?states=4&bits=16", "vlm:a/b?prompt=1"),
        ("vlm:./models/llava", "vlm:./models/llava?prompt=1"),
        ("server:http://127.0.0.1:8000/v1#llava:7b", "server:http://127.0.0.1:8000/v1#llava:7b?prompt=1"),
        ("server:https://h/v1#m?sees=text", "server:https://h/v1#m?prompt=1&sees=text"),
        ("server:http://[::1]:80/v1#org/m", "server:http://[::1]:80/v1#org/m?prompt=1"),
        ("smollm2?states=3", "smollm2?prompt=1&states=3"),
    ],
)  # fmt: skip
def test_a_name_has_one_full_form_with_the_same_meaning(name, full):
    assert str(parse_address(name)) == full
    assert str(parse_address(full)) == full
    assert parse_address(full) == parse_address(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vlm:", "names no model"),
        ("vlm:a/b?state=3", "no option 'state'.*Known: bits, states"),
        ("vlm:a/b?sees=text", "no option 'sees'"),
        ("vlm:a/b?states=0", "from 1 to 16"),
        ("vlm:a/b?states=many", "from 1 to 16"),
        ("vlm:a/b?bits=8", "bits must be 4 or 16"),
        ("vlm:a/b?prompt=0", "has prompt version 0; this version of aid has 1"),
        ("server:http://h/v1", "does not name a server and its model.*#llava"),
        ("server:h/v1#m", "does not name a server and its model"),
        ("server:ftp://h/v1#m", "does not name a server and its model"),
        ("server:http://h:port/v1#m", "does not name a server and its model"),
        ("server:http://me:secret@h/v1#m", "OPENAI_API_KEY"),
        ("server:http://h/v1#m?sees=video", "sees must be"),
        ("smollm2-big", "does not name a language model"),
    ],
)
def test_an_invalid_name_is_refused_in_one_sentence(name, words):
    with pytest.raises(ValueError, match=words) as error:
        choose_state_writer(name)
    assert "secret" not in str(error.value)


def test_writers_state_what_they_see():
    sees = {
        name: language_model_writer(name).sees
        for name in ("vlm:a/b", "server:http://h/v1#m", "server:http://h/v1#m?sees=text")
    }
    assert list(sees.values()) == ["first_frame", "first_frame", "text"]


def test_a_local_model_runs_on_the_given_device(monkeypatch):
    assert language_model_writer("vlm:a/b", device="cuda:1").model.device == "cuda:1"
    found = {"found": torch.device("mps")}
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: found["found"]
    )
    assert language_model_writer("vlm:a/b").model.device == "mps"
    found["found"] = None
    assert language_model_writer("vlm:a/b").model.device == "cpu"
