import pytest
import torch

from aid.conditioning.addresses import asking_state_writer, parse_address
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
def test_a_name_has_one_full_form_which_names_the_same(name, full):
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
        ("vlm:a/b?prompt=0", "asked with prompt 0; this version of aid asks with prompt 1"),
        ("server:http://h/v1", "no server's model.*#llava"),
        ("server:h/v1#m", "no server's model"),
        ("server:ftp://h/v1#m", "no server's model"),
        ("server:http://h:port/v1#m", "no server's model"),
        ("server:http://me:secret@h/v1#m", "OPENAI_API_KEY"),
        ("server:http://h/v1#m?sees=video", "sees must be"),
        ("smollm2-big", "does not name a language model"),
    ],
)
def test_a_name_that_is_none_is_refused_in_a_sentence(name, words):
    with pytest.raises(ValueError, match=words) as error:
        choose_state_writer(name)
    assert "secret" not in str(error.value)


def test_writers_say_what_they_see():
    sees = {
        name: asking_state_writer(name).sees
        for name in ("vlm:a/b", "server:http://h/v1#m", "server:http://h/v1#m?sees=text")
    }
    assert list(sees.values()) == ["first_frame", "first_frame", "text"]


def test_a_model_on_this_machine_computes_where_it_is_told(monkeypatch):
    assert asking_state_writer("vlm:a/b", device="cuda:1").model.device == "cuda:1"
    found = {"found": torch.device("mps")}
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: found["found"]
    )
    assert asking_state_writer("vlm:a/b").model.device == "mps"
    found["found"] = None
    assert asking_state_writer("vlm:a/b").model.device == "cpu"
