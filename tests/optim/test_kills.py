"""R1 of docs/reliability.md: whatever ends a run, its last complete state is there and goes on."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import parabola
import pytest
from parabola import LONG, Killed, run, watch_changes

from aid.files import sha256_of
from aid.optim import loop
from aid.optim.state import FACTS, TENSORS, read_values

BEGUN, STEPS = 2, 4
REFERENCE_STEPS = 3000


class Countdown:
    """Ends the run before the n-th file operation; the dead change no file."""

    def __init__(self):
        self.left, self.is_armed, self.folder = 0, False, None

    def __call__(self):
        if self.is_armed:
            self.left -= 1
            if self.left <= 0:
                raise Killed


@pytest.fixture(scope="module")
def countdown(tmp_path_factory):
    made = Countdown()
    watch_changes(tmp_path_factory.getbasetemp(), made)
    return made


def spied_hashes(folder, steps, monkeypatch):
    """The SHA-256 of the state's tensors after every step of a run that nothing disturbs."""
    hashes, save = {}, loop.save_state

    def spy(state, tensors, values):
        save(state, tensors, values)
        hashes[values["step"]] = sha256_of(state / TENSORS)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", spy)
        run(folder, config=replace(LONG, steps=steps), on_check=check)
    return hashes


def check(step):
    return {"checked": step}


def state_of(folder):
    """The state that a resumed run would take: (folder, step), or (None, 0)."""
    for name in ("state", ".state.previous"):
        if (folder / name).exists():
            return folder / name, read_values(folder / name)["step"]
    return None, 0


def assert_it_goes_on(folder, hashes, steps):
    """What lies in `folder` is a complete state, and `steps` more make the undisturbed run."""
    state, step = state_of(folder)
    assert state is None or sha256_of(state / TENSORS) == hashes[step]
    run(folder, config=replace(LONG, steps=step + steps), on_check=check)
    assert sha256_of(folder / "state" / TENSORS) == hashes[step + steps]
    assert {path.name for path in folder.iterdir()} == {"state", "log.jsonl", "report.html"}
    assert {path.name for path in (folder / "state").iterdir()} == {TENSORS, FACTS}
    logged = [line["step"] for line in parabola.log_of(folder) if "loss" in line]
    assert logged == list(range(2, step + steps + 1, 2)), "no line is lost, none is there twice"
    return step


def test_a_run_goes_on_after_an_end_at_any_file_operation(tmp_path, countdown, monkeypatch):
    """Every operation of a resumed run with two saves, in this process: none is left out."""
    hashes = spied_hashes(tmp_path / "straight", STEPS + 2, monkeypatch)
    begun, last = tmp_path / "begun", 0
    run(begun, config=replace(LONG, steps=BEGUN), on_check=check)
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        shutil.copytree(begun, folder)
        countdown.left, countdown.is_armed = number, True
        try:
            run(folder, config=replace(LONG, steps=STEPS), on_check=check)
            break
        except Killed:
            pass
        finally:
            countdown.is_armed = False
        step = assert_it_goes_on(folder, hashes, 2)
        assert step >= max(BEGUN, last), "a complete state was deleted before the next one stood"
        last = step
    assert number > 40
    assert last == STEPS


def start_child(folder, steps, kill_at=0):
    return subprocess.Popen(
        [sys.executable, parabola.__file__, folder, str(steps), str(kill_at)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def end_of(child):
    """A child's end: its code, and what it said."""
    said, wrong = child.communicate(timeout=300)
    return child.returncode, said, wrong


def kill_after(child, seconds):
    """SIGKILL so long after the child's first step."""
    assert child.stdout.readline().startswith("step"), child.stderr.read()
    time.sleep(seconds)
    child.kill()
    child.communicate(timeout=300)
    assert child.returncode == -signal.SIGKILL


def kill_at_boundaries(tmp_path, numbers, hashes):
    """Real processes that kill themselves before their n-th file operation; returns the kills."""
    begun, kills = tmp_path / "begun", 0
    if not begun.exists():
        run(begun, config=replace(LONG, steps=BEGUN), on_check=check)
    for number in numbers:
        folder = tmp_path / f"boundary-{number}"
        shutil.copytree(begun, folder)
        code, said, wrong = end_of(start_child(folder, STEPS, number))
        if code == 0:
            break
        assert code == -signal.SIGKILL, said + wrong
        assert_it_goes_on(folder, hashes, 2)
        kills += 1
        shutil.rmtree(folder)
    return kills


def kill_at_random_times(tmp_path, number, hashes):
    """Real processes that are killed at any time while they save all the time.

    Each goes on where the one before it was killed.
    """
    folder, draw, kills = tmp_path / "random", random.Random(0), 0
    while kills < number:
        child = start_child(folder, REFERENCE_STEPS)
        kill_after(child, draw.uniform(0, 0.3))
        kills += 1
        state, step = state_of(folder)
        assert state is None or sha256_of(state / TENSORS) == hashes[step]
        if kills % 10 == 0 or kills == number or step > REFERENCE_STEPS // 2:
            assert_it_goes_on(folder, hashes, 3)
        if step > REFERENCE_STEPS // 2:
            shutil.rmtree(folder)
    return kills


def test_a_process_that_is_killed_goes_on(tmp_path, monkeypatch):
    """The short version of the next: at the start of a save, between its renames, at any time."""
    hashes = spied_hashes(tmp_path / "straight", 200, monkeypatch)
    assert kill_at_boundaries(tmp_path, [12, 21], hashes) == 2
    child = start_child(tmp_path / "any", 190)
    kill_after(child, 0.05)
    assert_it_goes_on(tmp_path / "any", hashes, 2)


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing(tmp_path, monkeypatch, capsys):
    """At every file operation of a resumed run with two saves, and at random times."""
    hashes = spied_hashes(tmp_path / "straight", REFERENCE_STEPS, monkeypatch)
    boundaries = kill_at_boundaries(tmp_path, itertools.count(1), hashes)
    others = kill_at_random_times(tmp_path, max(150, 210 - boundaries), hashes)
    with capsys.disabled():
        print(f"\n{boundaries} kills at file operations, {others} at random times: nothing lost")
    assert boundaries + others >= 200


def test_a_full_disk_leaves_the_last_state(tmp_path, monkeypatch):
    import resource

    hashes = spied_hashes(tmp_path / "straight", 4, monkeypatch)
    folder = tmp_path / "full"
    run(folder, config=replace(LONG, steps=2), on_check=check)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # as a disk that is full after 1 KB
    try:
        with pytest.raises(OSError, match=r"state of step 3 was not saved: .*File too large"):
            run(folder, config=replace(LONG, steps=4), on_check=check)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert assert_it_goes_on(folder, hashes, 2) == 2


def test_too_little_free_space_is_noticed_before_a_state_is_begun(tmp_path, monkeypatch):
    run(tmp_path / "run", config=replace(LONG, steps=2))
    before = sha256_of(tmp_path / "run/state" / TENSORS)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"step 3 was not saved.*0 MB free.*Make room"):
        run(tmp_path / "run", config=replace(LONG, steps=4))
    assert sha256_of(tmp_path / "run/state" / TENSORS) == before
    with pytest.raises(OSError, match="0 MB free"):
        run(tmp_path / "new", kill_at=0)  # before the first step


@pytest.mark.parametrize("where", ["a folder without the right to write", "below a file"])
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, where):
    folder = tmp_path / "run"
    if where == "below a file":
        folder.write_text("")
        folder = folder / "run"
    else:
        run(folder, config=replace(LONG, steps=2))
        tmp_path.chmod(0o755)
        folder.chmod(0o555)
    is_root = os.geteuid() == 0
    opened = [parent for parent in tmp_path.parents if parent.stat().st_uid == os.geteuid()]
    modes = {parent: parent.stat().st_mode for parent in opened if "pytest" in parent.name}
    for parent, mode in modes.items():
        parent.chmod(mode | 0o055)
    try:
        if is_root:
            os.seteuid(65534)  # root may write anywhere
        with pytest.raises(ValueError, match=r"cannot write to folder .* Choose another --out"):
            run(folder, config=replace(LONG, steps=4))
    finally:
        if is_root:
            os.seteuid(0)
        for parent, mode in modes.items():
            parent.chmod(mode)
    if where != "below a file":
        assert state_of(folder)[1] == 2


def flip_a_bit(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", [TENSORS, FACTS])
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", 0.0, 0.3, 0.6, 0.99])
def test_a_damaged_state_is_refused_with_its_file_and_the_reason(tmp_path, name, damage):
    run(tmp_path, config=replace(LONG, steps=2))
    path = tmp_path / "state" / name
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        flip_a_bit(path, damage)
    after = {p: p.read_bytes() for p in (tmp_path / "state").iterdir()}
    with pytest.raises(ValueError, match=rf"{name}.*(cannot be read|is damaged).*copy"):
        run(tmp_path, config=replace(LONG, steps=4))
    assert {p: p.read_bytes() for p in (tmp_path / "state").iterdir()} == after
