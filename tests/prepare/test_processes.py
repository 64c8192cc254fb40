"""`prepare` shared by the ranks of a launcher: real ones, and two in the threads of a process."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prepared import SCRIPT, contents
from torch import distributed

from aid.config import ConditionConfig, FrameConfig
from aid.data.manifest import read_manifest
from aid.data.shards import pieces
from aid.models.backbone import backbone_hash
from aid.prepare import processes as processes_module
from aid.prepare.cache_folder import is_shard
from aid.prepare.encoding import EncodingJob, Progress
from aid.prepare.processes import ProcessGroup, on_ranks, process_group, send_job, work_for_rank_0
from aid.prepare.videos import encode_videos
from aid.types import VideoRow

RANK = (
    SCRIPT
    + """
from aid.prepare import videos as videos_module
videos_module.AHEAD = 1  # or one rank alone takes all of so few and small shards
rank, log, write = os.environ["RANK"], Path(sys.argv[4]), store_module.Store.write_tensors

def noted(self, name, *rest):
    with log.open("a") as file:
        file.write(f"{rank} {name}\\n")
    write(self, name, *rest)

def save_half(tensors, path, metadata):
    if len(log.read_text().splitlines()) > 1:  # every rank has come here, and nothing is finished
        path.write_bytes(b"half a shard")
        os.kill(os.getpid(), signal.SIGKILL)
    import time
    time.sleep(60)  # until the launcher ends this rank, too

store_module.Store.write_tensors = noted
if sys.argv[5] == "die":
    store_module.save_file = save_half
make(*sys.argv[6:])
"""
)


def launch(tmp_path, *arguments, launcher=("torch.distributed.run", "--nproc-per-node", "2")):
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    return subprocess.run(
        [sys.executable, "-m", *launcher, str(script), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def ranks_that_wrote(log, kind):
    lines = [line.split() for line in log.read_text().splitlines()]
    return {rank for rank, name in lines if name.startswith(kind)}


def test_after_the_death_of_a_rank_the_next_run_makes_what_one_process_makes(
    finished, tiny_manifest, tiny_backbone, tmp_path
):
    out, log = tmp_path / "out", tmp_path / "log"
    done = launch(tmp_path, tiny_manifest, out, tiny_backbone, log, "die")
    assert done.returncode != 0
    assert f"exitcode  : {-signal.SIGKILL}" in done.stderr
    assert ranks_that_wrote(log, "videos-") == {"0", "1"}, "both were at work"
    assert list(out.glob(".videos-*.tmp*")), "the kill came in the middle of a write"
    log.unlink()
    done = launch(tmp_path, tiny_manifest, out, tiny_backbone, log, "live")
    assert done.returncode == 0, done.stderr
    assert contents(out) == contents(finished)
    assert done.stdout.count("6 videos, 0 skipped") == 1, "only rank 0 prints"
    assert ranks_that_wrote(log, "sentences-") == {"0"}


@pytest.mark.slow  # each launch imports torch twice
def test_accelerate_launch_starts_it_too(finished, tiny_manifest, tiny_backbone, tmp_path):
    recipe = Path(__file__).parents[2] / "configs/accelerate/ddp.yaml"
    launcher = ("accelerate.commands.launch", "--config_file", str(recipe), "--num_processes", "2")
    arguments = (tiny_manifest, tmp_path / "out", tiny_backbone, tmp_path / "log", "live")
    done = launch(tmp_path, *arguments, launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(finished)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--device", "cuda"], "device 'cuda' is not on this machine"),
        (["--engine", "ray"], "Run it without a launcher"),
        (["--states", "nobody"], "no state writer is called 'nobody'"),
    ],
)
def test_an_error_is_printed_once_and_nothing_is_written(
    tiny_manifest, tiny_backbone, tmp_path, more, words
):
    arguments = (tiny_manifest, tmp_path / "out", tiny_backbone, tmp_path / "log", "live", *more)
    done = launch(tmp_path, *arguments)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def job_for(data, out, backbone):
    return EncodingJob(
        data=str(data), out=str(out), backbone=str(backbone), backbone_id=backbone_hash(backbone),
        condition=ConditionConfig(), frames=FrameConfig(), num_frames=3, height=64, width=64,
    )  # fmt: skip


class Crew:
    """Rank 0 here and rank 1 in a thread, with a store in memory."""

    def __init__(self):
        self.store = distributed.HashStore()
        self.zero, self.one = ProcessGroup(self.store, 0, 2), ProcessGroup(self.store, 1, 2)
        self.met, self.thread = [], None

    def start(self):
        def help_and_note():
            try:
                work_for_rank_0(self.one)
            except BaseException as error:
                self.met.append(error)
            self.one.close()

        self.thread = threading.Thread(target=help_and_note, daemon=True)
        self.thread.start()

    def make(self, job, told):
        rows = read_manifest(Path(job.data))
        job.store.make()
        shards = list(pieces(rows, 2))
        yield from on_ranks(
            encode_videos, job, shards, VideoRow.from_json, told.append, group=self.zero
        )


@pytest.fixture
def crew(monkeypatch):
    made = Crew()
    yield made
    monkeypatch.setattr(processes_module, "EXIT_TIMEOUT", 0.1)
    made.zero.close()
    if made.thread is not None:
        made.thread.join(60)


def test_shards_come_in_order_and_the_time_of_all_ranks_is_counted(
    crew, finished, tiny_manifest, tiny_backbone, tmp_path
):
    job, told = job_for(tiny_manifest, tmp_path / "out", tiny_backbone), []
    crew.start()
    send_job(job, crew.zero)
    made = list(crew.make(job, told))
    assert {one.name for one in made} == {p.name for p in finished.glob("videos-*")}
    assert [one.num_rows for one in made] == [2, 2, 2]
    total = sum(told, Progress())
    assert (total.done, total.encoded) == (6, 6)
    assert total.seconds > total.waited > 0


def test_an_error_of_another_rank_is_raised_by_rank_zero(crew, tiny_backbone, tmp_path):
    """Rank 1 has no videos: rank 0 hands it all of the work and never takes any."""
    job = job_for(tmp_path / "nowhere", tmp_path / "out", tiny_backbone)
    crew.start()
    send_job(job, crew.zero)
    rows = [VideoRow(id="a", video="a.mp4", instruction="go", num_frames=5, fps=4.0, height=64,
                     width=64)]  # fmt: skip
    crew.zero.begin("encode_videos", [rows])
    with pytest.raises(ValueError, match=r"a\.mp4.*--skip_corrupt"):
        crew.zero.receive("1/made/0", [1])
    crew.zero.close()
    crew.thread.join(60)
    assert [type(error) for error in crew.met] == [ValueError], "it ends with an error, too"


def test_a_rank_without_a_device_of_its_own_is_refused_by_rank_zero(
    crew, tiny_manifest, tiny_backbone, tmp_path
):
    job = job_for(tiny_manifest, tmp_path / "out", tiny_backbone)
    object.__setattr__(job, "device", "cuda:5")
    crew.start()
    with pytest.raises(ValueError, match="'cuda:5' is not on this machine"):
        send_job(job, crew.zero)


def test_a_dead_rank_is_not_waited_for(crew, tiny_manifest, tiny_backbone, tmp_path, monkeypatch):
    """No launcher ends this job: rank 1 takes a shard, and is never heard of again."""
    monkeypatch.setattr(processes_module, "TIMEOUT", 1.0)
    monkeypatch.setattr(processes_module, "EXIT_TIMEOUT", 0.1)
    crew.one._is_closed.set()  # its heartbeats end
    crew.store.add("1/taken", 1)
    job, told = job_for(tiny_manifest, tmp_path / "out", tiny_backbone), []
    with pytest.raises(OSError, match=r"rank 1 has not sent a heartbeat.*finished shards"):
        list(crew.make(job, told))
    assert len([path for path in (tmp_path / "out").iterdir() if is_shard(path.name)]) == 2


def test_a_second_cache_of_one_command_gets_no_messages_of_the_first(monkeypatch):
    store = distributed.HashStore()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes_module, "EXIT_TIMEOUT", 0.1)
    monkeypatch.setattr(distributed, "rendezvous", lambda *_, **__: iter([(store, 0, 2)]))
    with process_group() as first:
        with process_group() as inner:
            assert inner is first, "the command joins, and prepare within it"
        first.send("job", "the first")
        assert not first.has("end"), "it goes on after the inner one"
    with process_group() as second:
        assert not second.has("end")
        assert not second.has("job")
