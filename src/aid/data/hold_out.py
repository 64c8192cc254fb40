"""Holds episodes out of training, the same ones on every machine and in every run.

Called by `data.sources` on all rows of a data set, before a split or a camera is selected.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from aid.config.data import HELD_OUT, TRAIN
from aid.data.windows import episode_of
from aid.types import VideoRow


def divide(
    rows: Iterable[VideoRow], share: float, seed: int, notes: list[str]
) -> Iterator[VideoRow]:
    """Sets the `split` of rows to "train" or "held_out", by whole episodes.

    An episode is held out if the digest of the seed and its name, as a number in [0, 1), is below
    the share. So its split does not depend on other episodes, a larger share holds out those of a
    smaller one and more, and the number held out is only close to the share. At least one episode
    is in each split: if all digests are on one side of the share, the lowest or the highest counts
    as on the other.

    The order of the rows is kept; the first ones are buffered until both splits have one.

    Args:
        rows: of the whole data set.
        share: of the episodes, above 0 and below 1.
        seed: another seed holds out other episodes.
        notes: receives the numbers, and the data set's own splits, which are ignored.

    Raises:
        ValueError: there is only one episode, or the share of few episodes would be all of them.
    """
    waiting: list[VideoRow] = []
    drawn: set[float] = set()
    own, numbers = Counter[str](), Counter[str]()
    limit, lowest, highest = share, 1.0, 0.0

    def divided(row: VideoRow) -> VideoRow:
        split = HELD_OUT if _draw(row, seed) < limit else TRAIN
        numbers[split] += 1
        world = {key: value for key, value in row.world.items() if key != "also_in"}
        return replace(row, split=split, world=world)

    try:
        for row in rows:
            draw = _draw(row, seed)
            lowest, highest = min(lowest, draw), max(highest, draw)
            drawn.add(draw)
            own[row.split] += 1
            waiting.append(row)
            if lowest < share <= highest:
                yield from map(divided, waiting)
                waiting.clear()
        if waiting:
            limit = _limit_of_few(sorted(drawn), share)
            yield from map(divided, waiting)
    finally:
        if drawn:
            held = sum(draw < limit for draw in drawn)
            notes.append(
                f"hold_out {share:g} with seed {seed} keeps {held:,} of {len(drawn):,} episodes "
                f"({numbers[HELD_OUT]:,} of {numbers.total():,} videos read) out of training; "
                f"--split {HELD_OUT} reads them."
            )
        if set(own) - {"", TRAIN}:
            names = ", ".join(f"{name or '(unnamed)'} {n:,}" for name, n in sorted(own.items()))
            notes.append(
                f"the data set has splits of its own ({names}), which hold_out ignores. Leave it "
                "out to read one of them with --split."
            )


def _limit_of_few(drawn: list[float], share: float) -> float:
    """The limit between the splits if all of these sorted draws are on one side of the share."""
    if len(drawn) < 2:
        raise ValueError(
            "hold_out keeps whole episodes out of training, and this data set has only one. Leave "
            "hold_out out, or name the episode of each video (`world.episode` in a manifest)."
        )
    if drawn[0] >= share:
        return drawn[1]
    if round(share * len(drawn)) >= len(drawn):
        raise ValueError(
            f"hold_out = {share:g} would keep all {len(drawn)} episodes out of training. Try "
            f"{1 / len(drawn):.2g}, which is one of them."
        )
    return drawn[-1]


def _draw(row: VideoRow, seed: int) -> float:
    """A number in [0, 1) that depends only on the seed and the row's episode."""
    name = f"{seed} {episode_of(row)}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.sha256(name).digest()[:6], "big") / 2**48
