"""How fast a model predicts: a clock around `predict`, and a count of its network's evaluations."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from torch import nn

from aid.evaluate.predictions import Predict, Video

SPEED = "speed.jsonl"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of all predictions in a folder; a figure that was not measured is None."""

    seconds_per_video: float | None
    evaluations: float | None
    """Calls of the network for one video. Guidance may put several conditions into one call."""


class Timed:
    """A `predict` that writes how long it took: a line of JSON for each call.

    Args:
        predict: predicts videos.
        networks: those whose calls are counted; the one that is called most often counts.
        file: to which lines are added; made at once. None: nothing is written.
        batch_size: number of videos that `predict` draws at once.
    """

    def __init__(
        self,
        predict: Predict,
        networks: Sequence[nn.Module] = (),
        file: Path | None = None,
        batch_size: int = 1,
    ) -> None:
        self.predict, self.networks, self.file = predict, list(networks), file
        self.batch_size, self.seconds, self.num_videos = batch_size, 0.0, 0
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

    def __call__(self, given: Sequence[Any], *others: Any) -> list[Video]:
        """The videos of `predict`, which gets the same arguments."""
        calls = [0] * len(self.networks)

        def count(number: int) -> None:
            calls[number] += 1

        handles = [
            network.register_forward_hook(lambda *_, n=n: count(n))
            for n, network in enumerate(self.networks)
        ]
        start = monotonic()
        try:
            videos = self.predict(given, *others)
        finally:
            for handle in handles:
                handle.remove()
        seconds = monotonic() - start
        self.seconds += seconds
        self.num_videos += len(videos)
        if self.file is not None:
            batches = -(-len(videos) // self.batch_size)
            line = {
                "videos": len(videos),
                "seconds": round(seconds, 4),
                "evaluations": max(calls, default=0) / batches,
            }
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return videos


def read_speed(folder: Path) -> Speed:
    """The speed of the predictions in the folder of a score card; a cut line is left out."""
    path, lines = folder / SPEED, []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    number = sum(line["videos"] for line in lines)
    if not number:
        return Speed(seconds_per_video=None, evaluations=None)
    calls = sum(line["videos"] * line["evaluations"] for line in lines) / number
    return Speed(
        seconds_per_video=sum(line["seconds"] for line in lines) / number,
        evaluations=calls or None,
    )
