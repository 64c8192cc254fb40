"""Shards of a cache made by the workers of a Ray cluster: a Ray Data pipeline.

Called by `run` with the same functions that work here, so the shards are the same. Workers write
them to the cache themselves and only say what they made; a worker that dies is started again, and
its shard with it. All machines must see the data, the cache and the backbone under the same names.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from aid.prepare.job import Encode, Job, Made, Spent, Tell, line_of

THREADS = 2
"""That decode in each process of a cluster, while it encodes."""


def on_cluster(
    encode: Encode,
    job: Job,
    shards: list[list[Any]],
    restore: Callable[[dict], Any],
    tell: Tell,
    num_workers: int | None,
    device: str | None,
) -> Iterator[Made]:
    """What `encode(job, shards)` yields, in the same order, each shard made by some worker.

    Where the cluster has GPUs every worker asks for one, and there are no more workers than GPUs.

    Args:
        encode: makes shards of rows.
        job: what they have in common.
        shards: the rows of each, dataclasses of JSON values.
        restore: a row again, from its JSON values.
        tell: told of every shard that is done.
        num_workers: processes; None is one per GPU of the cluster, or else per core.
        device: where they compute; "cpu" leaves the GPUs alone.

    Raises:
        ValueError: Ray is not installed, or there is no such device; or what a worker met.
        OSError: a worker's disk is full.
    """
    if not shards:
        return
    ray = _connected()
    ray.data.DataContext.get_current().enable_progress_bars = False
    lines = [
        {"number": number, "rows": json.dumps([line_of(row) for row in rows])}
        for number, rows in enumerate(shards)
    ]
    resources = ray.cluster_resources()
    kind = device and device.partition(":")[0]  # Ray says which of its GPUs a worker sees
    cores, gpus = int(resources["CPU"]), 0 if kind == "cpu" else int(resources.get("GPU", 0))
    if kind not in (None, "cpu") and not gpus:
        raise ValueError(f"device {device!r}: the Ray cluster has no GPU. Leave --device out.")
    most = min(cores, gpus or cores)
    workers = max(1, min(num_workers or most, most, len(shards)))
    theirs = replace(job, num_threads=THREADS, device=kind)
    made = ray.data.from_items(lines, override_num_blocks=len(lines)).map(
        _Worker,
        fn_constructor_args=(encode, theirs, restore),
        concurrency=workers,
        num_cpus=1,
        num_gpus=1 if gpus else 0,
    )
    early: dict[int, Made] = {}
    expected = 0
    for one in made.iter_rows():
        if one["error"]:
            raise (ValueError if one["is_users"] else OSError)(one["error"])
        tell(Spent(**json.loads(one["spent"])))
        early[one["number"]] = Made(**json.loads(one["made"]))
        while expected in early:
            yield early.pop(expected)
            expected += 1


class _Worker:
    """One process of the cluster; it loads the encoders once, when its first shard needs them."""

    def __init__(self, encode: Encode, job: Job, restore: Callable[[dict], Any]) -> None:
        self.encode, self.job, self.restore = encode, job, restore

    def __call__(self, line: dict[str, Any]) -> dict[str, Any]:
        """Makes the shard of a line; what is wrong is said, because exceptions travel badly."""
        answer = {
            "number": line["number"], "made": "", "spent": "", "error": "", "is_users": False,
        }  # fmt: skip
        parts: list[Spent] = []
        try:
            rows = [self.restore(row) for row in json.loads(line["rows"])]
            (made,) = self.encode(self.job, iter([rows]), parts.append)
        except (ValueError, OSError) as error:
            return answer | {"error": str(error), "is_users": isinstance(error, ValueError)}
        spent = json.dumps(asdict(sum(parts, Spent())))
        return answer | {"made": json.dumps(asdict(made)), "spent": spent}


def _connected() -> Any:
    """Ray, connected to the cluster of RAY_ADDRESS, or to one of this machine."""
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
