"""Shards of a cache made by the workers of a Ray cluster: a Ray Data pipeline.

Called by `run` with the same functions as in one process, so the shards are the same. Workers write
them to the cache and return only what `ShardResult` holds; a worker that dies is started again, and
its shard with it. All machines must have the data, the cache and the backbone at the same paths.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from aid.prepare.encoding import Encode, EncodingJob, OnProgress, Progress, ShardResult, row_as_json

NUM_THREADS = 2
"""For decoding in each process of a cluster, while it encodes."""


def on_cluster(
    encode: Encode,
    job: EncodingJob,
    shards: list[list[Any]],
    restore: Callable[[dict], Any],
    on_progress: OnProgress,
    num_workers: int | None,
    device: str | None,
) -> Iterator[ShardResult]:
    """Yields what `encode(job, shards)` would, in that order; any worker makes a shard.

    If the cluster has GPUs, every worker takes one, and there are no more workers than GPUs.

    Args:
        encode: makes shards of rows.
        job: settings that all shards share.
        shards: the rows of each, dataclasses of JSON values.
        restore: makes a row from its JSON values.
        on_progress: called after every shard.
        num_workers: processes; None is one per GPU of the cluster, or else per core.
        device: where they compute; "cpu" does not use GPUs.

    Raises:
        ValueError: Ray is not installed, or there is no such device; or an error of a worker.
        OSError: a worker's disk is full.
    """
    if not shards:
        return
    ray = _connected()
    ray.data.DataContext.get_current().enable_progress_bars = False
    lines = [
        {"number": number, "rows": json.dumps([row_as_json(row) for row in rows])}
        for number, rows in enumerate(shards)
    ]
    resources = ray.cluster_resources()
    kind = device and device.partition(":")[0]  # Ray assigns GPUs to workers
    cores, gpus = int(resources["CPU"]), 0 if kind == "cpu" else int(resources.get("GPU", 0))
    if kind not in (None, "cpu") and not gpus:
        raise ValueError(f"device {device!r}: the Ray cluster has no GPU. Leave --device out.")
    most = min(cores, gpus or cores)
    workers = max(1, min(num_workers or most, most, len(shards)))
    worker_job = replace(job, num_threads=NUM_THREADS, device=kind)
    made = ray.data.from_items(lines, override_num_blocks=len(lines)).map(
        _Worker,
        fn_constructor_args=(encode, worker_job, restore),
        concurrency=workers,
        num_cpus=1,
        num_gpus=1 if gpus else 0,
    )
    early: dict[int, ShardResult] = {}
    expected = 0
    for one in made.iter_rows():
        if one["error"]:
            raise (ValueError if one["is_users"] else OSError)(one["error"])
        on_progress(Progress(**json.loads(one["progress"])))
        early[one["number"]] = ShardResult(**json.loads(one["result"]))
        while expected in early:
            yield early.pop(expected)
            expected += 1


class _Worker:
    """One process of the cluster; it loads the encoders once, for its first shard."""

    def __init__(self, encode: Encode, job: EncodingJob, restore: Callable[[dict], Any]) -> None:
        self.encode, self.job, self.restore = encode, job, restore

    def __call__(self, line: dict[str, Any]) -> dict[str, Any]:
        """Makes the shard of a line; errors are returned, because Ray wraps exceptions."""
        answer = {
            "number": line["number"],
            "result": "",
            "progress": "",
            "error": "",
            "is_users": False,
        }
        parts: list[Progress] = []
        try:
            rows = [self.restore(row) for row in json.loads(line["rows"])]
            (result,) = self.encode(self.job, iter([rows]), parts.append)
        except (ValueError, OSError) as error:
            return answer | {"error": str(error), "is_users": isinstance(error, ValueError)}
        progress = json.dumps(asdict(sum(parts, Progress())))
        return answer | {"result": json.dumps(asdict(result)), "progress": progress}


def _connected() -> Any:
    """Ray, connected to the cluster of RAY_ADDRESS, or to one on this machine."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise ValueError(
            "--engine ray needs Ray Data. Install it: pip install 'aid-video[ray]'"
        ) from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level="error")
    return ray
