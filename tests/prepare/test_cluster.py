"""`prepare` on a Ray cluster of two workers, in a process of its own; and what needs no cluster."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from prepared import SCRIPT, contents

from aid.config import ConditionConfig, FrameConfig
from aid.prepare.cluster import _Worker, on_cluster
from aid.prepare.job import Job, Made

JOB = Job(
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

def killing(job, shards, encode=videos_module.encode_videos):
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
        yield from encode(job, shards)
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


@pytest.mark.parametrize(
    ("error", "is_users"), [(ValueError("video 'a' is damaged"), True), (OSError("full"), False)]
)
def test_what_a_worker_meets_is_said_and_not_thrown(error, is_users):
    def encode(job, shards):
        raise error
        yield

    answer = _Worker(encode, JOB, dict)({"number": 3, "rows": "[{}]"})
    assert answer == {"number": 3, "made": "", "error": str(error), "is_users": is_users}


def test_a_worker_says_what_it_made_as_json():
    def encode(job, shards):
        (rows,) = shards
        yield Made(name=f"{job.out}-{rows[0]['id']}", num_rows=len(rows), skipped=[("b", "torn")])

    answer = _Worker(encode, JOB, dict)({"number": 0, "rows": json.dumps([{"id": "a"}])})
    made = {"name": "cache-a", "num_rows": 1, "skipped": [["b", "torn"]]}
    assert json.loads(answer["made"]) == made
    assert answer["error"] == ""


def test_without_ray_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'aid-video\[ray\]'"):
        list(on_cluster(lambda *_: iter(()), JOB, [[]], dict, num_workers=2))
