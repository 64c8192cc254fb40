import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from memory_use import begin_anew, resident

from aid.video.confined import Cancelled, Readers

PATIENCE = 120.0


@pytest.fixture
def readers(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    made = Readers(2)
    yield made
    made.close()


def ask(readers, function, megabytes=300, seconds=60.0, owner=("", ""), **arguments):
    return readers.ask(
        f"confined_functions:{function}", arguments, megabytes=megabytes, seconds=seconds,
        owner=owner,
    )  # fmt: skip


def process_of(readers):
    return ask(readers, "facts").value["id"]


def test_values_and_arrays_come_back_and_errors_keep_their_words(readers):
    answer = ask(readers, "sum_of", numbers=[1, 2, 3])
    assert answer.value == 6
    assert [array.tolist() for array in answer.arrays] == [[1, 2, 3], [[], []]]
    with pytest.raises(ValueError, match=r"^a sentence of mine, with an é.$"):
        ask(readers, "sum_of", numbers=[], fail="a sentence of mine, with an é.")
    assert process_of(readers) == process_of(readers), "an answer ends no process"


def test_a_process_has_neither_torch_nor_keys(readers, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    facts = ask(readers, "facts").value
    assert not {"torch", "gradio"} & set(facts["modules"])
    assert "secret" not in json.dumps(facts["environment"])


def test_memory_beyond_the_limit_is_refused_and_the_next_file_is_read(readers):
    before = begin_anew()
    with pytest.raises(ValueError, match=r"took more than 300 MB of memory. It was given up"):
        readers.ask("confined_functions:take", {"megabytes": 2000}, megabytes=300)
    assert readers.ask("confined_functions:take", {"megabytes": 200}, megabytes=300).value == 2e8
    assert resident("VmHWM") - before < 100e6


def test_time_beyond_the_limit_ends_the_process_and_the_next_file_is_read(readers):
    first = process_of(readers)
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"took more than 0.5 s. It was given up"):
        ask(readers, "spin", seconds=0.5)
    assert time.monotonic() - started < 30
    assert not Path(f"/proc/{first}").exists()
    assert process_of(readers) != first


@pytest.mark.parametrize("function", ["crash", "lie"])
def test_a_process_that_breaks_down_is_a_sentence_and_the_next_file_is_read(readers, function):
    with pytest.raises(ValueError, match=r"broke down the process that read it. It was given up"):
        ask(readers, function)
    assert ask(readers, "sum_of", numbers=[4]).value == 4


def test_one_address_never_has_all_processes(readers, tmp_path):
    started = tmp_path / "started"
    stop = threading.Event()
    ended = []

    def hold(number):
        with pytest.raises(Cancelled):
            readers.ask(
                "confined_functions:spin", {"path": str(started)}, seconds=PATIENCE,
                owner=("hostile", str(number)), is_cancelled=stop.is_set,
            )  # fmt: skip
        ended.append(number)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while not started.exists():
        time.sleep(0.05)
    assert ask(readers, "sum_of", owner=("good", ""), numbers=[5]).value == 5
    assert not ended
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(ended) == [0, 1, 2, 3]


def test_an_address_whose_files_took_long_waits_behind_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    readers, stop, order = Readers(1), threading.Event(), []

    def hold():
        with pytest.raises(Cancelled):
            readers.ask(
                "confined_functions:spin", {"path": str(tmp_path / "started")}, seconds=PATIENCE,
                owner=("hostile", "1"), is_cancelled=stop.is_set,
            )  # fmt: skip

    def add(address):
        ask(readers, "sum_of", owner=(address, "2"), numbers=[1])
        order.append(address)

    threads = [threading.Thread(target=hold)]
    threads[0].start()
    while not (tmp_path / "started").exists():
        time.sleep(0.05)
    for number, address in enumerate(("hostile", "good"), 1):
        threads.append(threading.Thread(target=add, args=(address,)))
        threads[-1].start()
        while len(readers._waiting) < number:
            time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    readers.close()
    assert order == ["good", "hostile"]


PARENT = """
from aid.video.confined import Readers
import sys
Readers(1).ask("confined_functions:spin", {"path": sys.argv[1]}, seconds=1000.0)
"""


def test_a_process_ends_with_its_parent_even_in_the_middle_of_a_file(readers, tmp_path):
    started = tmp_path / "started"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(started)])
    while not (started.exists() and started.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    child = Path(f"/proc/{started.read_text()}")
    assert child.exists()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + PATIENCE
    while child.exists() and "Z" not in (child / "stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
