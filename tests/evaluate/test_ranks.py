import threading

import pytest

import aid.evaluate.ranks as ranks_module
from aid.evaluate.ranks import Ranks


def test_the_launcher_says_which_process_this_is(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert Ranks.from_launcher() == Ranks(rank=0, number=1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert Ranks.from_launcher().share("abcdefgh") == "cf"
    assert not Ranks.from_launcher().is_first


@pytest.fixture
def impatient(monkeypatch):
    """A dead process is given up after a moment."""
    monkeypatch.setattr(ranks_module, "PATIENCE", 0.3)


def test_what_others_make_is_waited_for(impatient):
    done = []

    def work():
        for number in range(4):
            threading.Event().wait(0.1)
            done.append(number)

    other, told = threading.Thread(target=work), []
    other.start()
    Ranks(rank=0, number=2).wait(lambda: len(done), 4, on_done=lambda *n: told.append(n))
    other.join()
    assert done == [0, 1, 2, 3] and told[-1] == (4, 4)


def test_a_dead_process_is_not_waited_for_for_ever(impatient):
    Ranks(rank=0, number=2).wait(lambda: 1, 4)
    Ranks(rank=0, number=1).wait(lambda: pytest.fail("alone, there is nobody to wait for"), 4)
