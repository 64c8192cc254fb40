"""Commands that are killed before every file operation, and then given again.

A helper for tests. As a program it is the process that runs the commands: it imports everything
once, and forks a child for each run, because a start of its own would cost half a minute each.
"""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
import types
from fnmatch import fnmatch
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
"""Audit events of operations that change names or contents; Python announces each of them."""


class Runner:
    """Runs `aid` commands in children of a process that has imported everything.

    Args:
        folder: for what the commands say.
        setup: Python code that the process executes first, such as smaller shards.
    """

    def __init__(self, folder: Path, setup: str = "") -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, __file__, setup],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, command: list[str], root: Path, kill_at: int = 0) -> tuple[int, int, str]:
        """Runs `aid COMMAND`; kills it before its n-th operation below `root`, if n is not 0.

        Returns:
            How it ended (negative: by that signal), how many operations there were, what it said.
        """
        said = self.folder / "said.txt"
        request = {"command": list(map(str, command)), "root": str(root), "kill_at": kill_at}
        self.process.stdin.write(json.dumps(request | {"said": str(said)}) + "\n")
        self.process.stdin.flush()
        code, operations = json.loads(self.process.stdout.readline())
        return code, operations, said.read_text()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)


def contents(root: Path, skip: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file below a folder; of those whose names are like one in `skip` only their names."""
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    skipped = {name for name, p in files.items() if any(fnmatch(p.name, one) for one in skip)}
    return {name: b"" if name in skipped else _content(p) for name, p in files.items()}


def _content(path: Path) -> bytes:
    """The bytes; the header of a safetensors file, which has no fixed order, is put in order."""
    found = path.read_bytes()
    if path.suffix != ".safetensors":
        return found
    end = 8 + int.from_bytes(found[:8], "little")
    return json.dumps(json.loads(found[8:end]), sort_keys=True).encode() + found[end:]


def kill_everywhere(runner, command, template, root, sample=None, skip=(), refusal=None):
    """Kills a command before each of its file operations, or before some; gives it again each time.

    Args:
        command: the arguments of `aid`; it reads and writes below `root`.
        template: a folder that is copied to `root` before each run.
        sample: how many operations, spread over all of them; None takes every one.
        skip: names, or patterns of names, of files that differ between equal runs.
        refusal: words with which the command may refuse to do again what is done already.

    Returns:
        The number of operations, and of kills.
    """

    def fresh():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)

    fresh()
    code, operations, said = runner.run(command, root)
    assert code == 0, said
    assert operations > 2, "nothing was written, so nothing is shown"
    wanted = contents(root, skip)
    points = list(range(1, operations + 1))
    if sample is not None and sample < operations:
        points = sorted({1 + (operations - 1) * i // (sample - 1) for i in range(sample)})
    for point in points:
        fresh()
        code, _, said = runner.run(command, root, kill_at=point)
        assert code == -signal.SIGKILL, f"operation {point}: {said}"
        code, _, said = runner.run(command, root)
        is_done = code == 2 and refusal is not None and refusal in said
        assert code == 0 or is_done, f"killed before operation {point} of {operations}: {said}"
        found = contents(root, skip)
        different = [name for name in {*found, *wanted} if found.get(name) != wanted.get(name)]
        assert not different, f"killed before operation {point} of {operations}: {different}"
    return operations, len(points)


def watch(root: str, kill_at: int, counter: int) -> None:
    """Counts the operations below `root` in a file handle, and kills this process at one."""
    number, this = 0, os.getpid()

    def count():
        nonlocal number
        if os.getpid() != this:
            return  # a command that this one started, which is killed in a test of its own
        number += 1
        if number == kill_at:
            os.kill(this, signal.SIGKILL)
        os.pwrite(counter, f"{number:9}".encode(), 0)

    def is_below(path):
        path = os.fsdecode(path) if isinstance(path, bytes | os.PathLike) else path
        if not isinstance(path, str):
            return False
        return os.path.abspath(path).startswith(root)  # noqa: PTH100  links are not followed

    def hook(event, args):
        if event == "open":
            path, _, flags = args
            if isinstance(path, str | bytes | os.PathLike) and flags & WRITES and is_below(path):
                count()
        elif event in ("os.remove", "os.rmdir") and args[1] != -1:
            count()  # below an open folder, as shutil.rmtree does it
        elif event in CHANGES and any(is_below(one) for one in args[:2]):
            count()

    sys.addaudithook(hook)
    flush = os.fsync

    def fsync(handle):
        count()  # Python does not announce it
        flush(handle)

    os.fsync = fsync


def child(request: dict, counter: int) -> int:
    """Runs one command as `aid` does, in this process, which is killed at an operation."""
    handle = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    watch(request["root"], request["kill_at"], counter)
    return finish(request["command"])


def finish(command: list[str]) -> int:
    """The exit code of one command, run in this process."""
    from aid.cli import main

    try:
        return main(command)
    except SystemExit as left:
        return left.code or 0
    except BaseException:
        traceback.print_exc()
        return 1


def read_here() -> None:
    """Has files read by this process: starting another one takes longer than most commands."""
    from aid.video import confined

    def ask(self, function, arguments, **limits):
        module, _, name = function.partition(":")
        value, arrays = getattr(importlib.import_module(module), name)(**arguments)
        return confined.Answer(json.loads(json.dumps(value)), list(arrays))

    confined.Readers.ask = ask


def fork_commands() -> None:
    """Has `ablate` run its commands in forks of itself.

    Their operations are not counted: each of those commands is killed by itself.
    """
    from aid.ablate import run as ablating

    def run(command, stdout, stderr, env):
        if (pid := os.fork()) == 0:
            renew_thread_pool()
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            code = finish(command[3:])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status))

    ablating.subprocess = types.SimpleNamespace(run=run)


def renew_thread_pool() -> None:
    """Makes PyTorch's thread pool anew after a fork, before two threads try to do so at once.

    PyTorch replaces the pool of the parent when it is first asked for it, without a lock.
    """
    import torch

    torch.set_num_threads(1)


def serve(setup: str) -> None:
    """Reads requests, a line each, and answers with the end of each run."""
    import tempfile

    import torch

    import aid.ablate
    import aid.cli
    import aid.evaluate
    import aid.predict
    import aid.prepare
    import aid.train  # noqa: F401

    torch.set_num_threads(1)
    read_here()
    fork_commands()
    exec(setup)
    sys.path.pop(0)
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as counter:
            if (pid := os.fork()) == 0:
                renew_thread_pool()
                code = child(request, counter.fileno())
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            _, status = os.waitpid(pid, 0)
            number = int(os.pread(counter.fileno(), 9, 0) or 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), number]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
