"""`prepare` on a Ray cluster of two workers, in a process of its own; and what needs no cluster."""

import importlib.util
import json
import os
import subprocess
import sys
import types
from dataclasses import replace

import pytest
from prepared import SCRIPT, contents

from aid.config import ConditionConfig, FrameConfig
from aid.prepare.cluster import _Worker, on_cluster
from aid.prepare.encoding import EncodingJob, Progress, ShardResult
from aid.types import VideoRow

JOB = EncodingJob(
    data="data", out="cache", backbone="tiny", backbone_id="0", condition=ConditionConfig(),
    frames=FrameConfig(), num_frames=3, height=8, width=8,
)  # fmt: skip

CLUSTER = """
import ray
from aid.prepare import videos as videos_module

for attempt in range(4):  # Ray waits 30 s for itself, which a busy machine may exceed
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
                 object_store_memory=100_000_000)
        break
    except Exception as error:
        if attempt == 3 or "timed out during startup" not in str(error):
            raise
        ray.shutdown()
marker = sys.argv[4]

def killing(job, shards, on_progress, encode=videos_module.encode_videos):
    # Runs in a worker: the first that comes here dies in the middle of its first write.
    import os, signal
    from aid.data import store
    save = store.save_file

    def kill(tensors, path, metadata):
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return save(tensors, path, metadata)
        path.write_bytes(b"half a shard")
        os.kill(os.getpid(), signal.SIGKILL)

    store.save_file = kill
    try:
        yield from encode(job, shards, on_progress)
    finally:
        store.save_file = save
"""

KILLED = (
    CLUSTER
    + """
run_module.encode_videos = killing
make("--engine", "ray")
assert Path(marker).exists(), "a worker was killed"
"""
)


def run(body, *arguments):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT + body, *map(str, arguments)],
        env=os.environ
        | {"OMP_NUM_THREADS": "1", "RAY_ADDRESS": "", "RAY_USAGE_STATS_ENABLED": "0"}
        | {"RAY_worker_niceness": "0"},
        capture_output=True,
        text=True,
        timeout=1200,
    )


@pytest.mark.slow  # seven processes import torch
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray Data: pip install -e '.[ray]'"
)
def test_workers_of_which_one_is_killed_make_the_cache_that_one_process_makes(
    finished, tiny_manifest, tiny_backbone, tmp_path
):
    urls = [f"file://{tiny_manifest}", f"file://{tmp_path}/out"]
    done = run(KILLED, *urls, tiny_backbone, tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(finished)


GPUS = (
    CLUSTER.replace("num_cpus=2", "num_cpus=2, num_gpus=2")
    + """
def noting(job, shards, on_progress, encode=videos_module.encode_videos):
    # Runs in a worker.
    import ray
    with open(marker, "a") as file:
        file.write(f"{len(ray.get_gpu_ids())}\\n")
    yield from encode(job, shards, on_progress)

run_module.encode_videos = noting
make("--engine", "ray")
"""
)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray Data: pip install -e '.[ray]'"
)
def test_every_worker_has_a_gpu_to_itself_where_the_cluster_declares_some(
    finished, tiny_manifest, tiny_backbone, tmp_path
):
    """The GPUs are declared and not there, so the workers compute on their CPUs."""
    urls = [f"file://{tiny_manifest}", f"file://{tmp_path}/out"]
    done = run(GPUS, *urls, tiny_backbone, tmp_path / "gpus")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "gpus").read_text().split() == ["1"] * 3
    assert contents(tmp_path / "out") == contents(finished)


@pytest.mark.parametrize(
    ("error", "is_users"), [(ValueError("video 'a' is damaged"), True), (OSError("full"), False)]
)
def test_a_workers_error_is_returned_and_not_raised(error, is_users):
    def encode(job, shards, on_progress):
        raise error
        yield

    answer = _Worker(encode, JOB, dict)({"number": 3, "rows": "[{}]"})
    said = {"result": "", "progress": "", "error": str(error), "is_users": is_users}
    assert answer == {"number": 3, **said}


def test_a_worker_returns_json():
    def encode(job, shards, on_progress):
        (rows,) = shards
        yield ShardResult(
            name=f"{job.out}-{rows[0]['id']}", num_rows=len(rows), facts={"size": 3},
            skipped=[("b", "torn")], notes={"turned": ["a", 1]},
        )  # fmt: skip

    answer = _Worker(encode, JOB, dict)({"number": 0, "rows": json.dumps([{"id": "a"}])})
    made = {"name": "cache-a", "num_rows": 1, "facts": {"size": 3}, "skipped": [["b", "torn"]],
            "notes": {"turned": ["a", 1]}}  # fmt: skip
    assert json.loads(answer["result"]) == made
    assert answer["error"] == ""


def test_without_ray_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'aid-video\[ray\]'"):
        list(on_cluster(lambda *_: iter(()), JOB, [[]], dict, print, num_workers=2, device=None))


class FakeRay(types.ModuleType):
    """A cluster in this process, which notes what workers are asked for."""

    def __init__(self, resources):
        super().__init__("ray")
        self.resources, self.asked, self.data = resources, [], self
        self.DataContext = types.SimpleNamespace(get_current=types.SimpleNamespace)

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return self.resources

    def from_items(self, lines, override_num_blocks):
        self.lines = lines
        return self

    def map(self, worker, fn_constructor_args, **asked):
        self.asked.append((asked, fn_constructor_args[1].device))
        made = worker(*fn_constructor_args)
        return types.SimpleNamespace(iter_rows=lambda: map(made, self.lines))


@pytest.mark.parametrize(
    ("gpus", "device", "asked", "of_worker"),
    [
        (None, None, {"concurrency": 4, "num_cpus": 1, "num_gpus": 0}, None),
        (2, None, {"concurrency": 2, "num_cpus": 1, "num_gpus": 1}, None),
        (2, "cuda:1", {"concurrency": 2, "num_cpus": 1, "num_gpus": 1}, "cuda"),
        (8, "cuda", {"concurrency": 4, "num_cpus": 1, "num_gpus": 1}, "cuda"),
        (2, "cpu", {"concurrency": 4, "num_cpus": 1, "num_gpus": 0}, "cpu"),
    ],
)
def test_workers_take_gpus_if_the_cluster_has_any(monkeypatch, gpus, device, asked, of_worker):
    def encode(job, shards, on_progress):
        for rows in shards:
            on_progress(Progress(done=len(rows), encoded=len(rows), seconds=2.0, waited=1.0))
            yield ShardResult(name=rows[0]["id"], num_rows=len(rows))

    ray = FakeRay({"CPU": 4.0} | ({"GPU": float(gpus)} if gpus else {}))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray)
    row = VideoRow(id="", video="", instruction="", num_frames=1, fps=1.0, height=8, width=8)
    shards = [[replace(row, id=str(number))] for number in range(6)]
    told = []
    made = list(on_cluster(encode, JOB, shards, dict, told.append, num_workers=None, device=device))
    assert [one.name for one in made] == ["0", "1", "2", "3", "4", "5"]
    assert ray.asked == [(asked, of_worker)]
    assert sum(told, Progress()) == Progress(done=6, encoded=6, seconds=12.0, waited=6.0)


def test_a_gpu_that_the_cluster_lacks_is_refused(monkeypatch):
    ray = FakeRay({"CPU": 4.0})
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray)
    with pytest.raises(ValueError, match="device 'cuda': the Ray cluster has no GPU"):
        made = on_cluster(
            lambda *_: iter(()), JOB, [[]], dict, print, num_workers=None, device="cuda"
        )
        list(made)
