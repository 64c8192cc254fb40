"""Which videos of a cache are drawn together, and how often.

A step draws groups, each a video or several of one first frame (`optim.batch_indices`). Groups that
stand in the list several times are drawn so many times as often.
"""

import itertools
import re
import warnings
from collections.abc import Mapping, Sequence

from aid.config import TrainConfig
from aid.data.cache import Cache


def drawn_groups(cache: Cache, train: TrainConfig) -> list[list[int]]:
    """The groups that training draws from: `families`, `emphasised`, and then the `contrasting`.

    Raises:
        ValueError: the cache has no such videos, naming the setting.
    """
    groups = emphasised(cache, families(cache, train.siblings), train.emphasis)
    return groups + contrasting(cache, train.contrasts)


def by_first_frame(cache: Cache) -> dict[int, list[int]]:
    """The videos of every first frame, all siblings together."""
    found: dict[int, list[int]] = {}
    for index, row in enumerate(cache.rows):
        found.setdefault(row["first_frame"], []).append(index)
    return found


def other_instruction(cache: Cache, indices: Sequence[int]) -> list[int]:
    """For each video another one whose instruction it does not have.

    One with the same first frame where there is one, else the next video in the cache, in a circle,
    that is told something else; itself where all are told the same.
    """
    siblings = by_first_frame(cache)
    swapped = []
    for index in indices:
        own = cache.rows[index]
        family = siblings[own["first_frame"]]
        at = family.index(index)
        following = itertools.chain(
            family[at + 1 :], family[:at], range(index + 1, len(cache.rows)), range(index)
        )
        others = (
            i for i in following if not {*cache.rows[i]["instructions"]} & {*own["instructions"]}
        )
        swapped.append(next(others, index))
    return swapped


def families(cache: Cache, siblings: int) -> list[list[int]]:
    """The videos in groups of `siblings` with one first frame; what is left over is not used.

    Where no two videos have one first frame, each video is a group of its own, with a warning.

    Raises:
        ValueError: some videos have one first frame, but nowhere so many.
    """
    single = [[index] for index in range(len(cache.rows))]
    if siblings == 1:
        return single
    frames = by_first_frame(cache).values()
    whole = [
        family[start : start + siblings]
        for family in frames
        for start in range(0, len(family) - siblings + 1, siblings)
    ]
    if whole:
        return whole
    most = max(len(family) for family in frames)
    if most > 1:
        raise ValueError(
            f"train.siblings is {siblings}, but no first frame of the cache has so many videos: "
            f"the most are {most}. Use train.siblings={most}."
        )
    warnings.warn(
        f"train.siblings is {siblings}, but no two videos of the cache {str(cache.folder)!r} have "
        "the same first frame. Videos are drawn one by one, as with train.siblings=1.",
        stacklevel=2,
    )
    return single


def emphasised(
    cache: Cache, groups: Sequence[list[int]], emphasis: Mapping[str, int]
) -> list[list[int]]:
    """Every group as often as its videos ask for on average, rounded, and at least once.

    Args:
        groups: videos that are drawn together (`families`).
        emphasis: words, and how many times as often a video is drawn whose instruction has them
            in any wording; of several that it has, the largest counts.

    Raises:
        ValueError: no instruction has one of the words.
    """
    if not emphasis:
        return list(groups)
    wordings = [" | ".join(said).lower() for said in cache.wordings()]
    patterns = {words: re.compile(rf"\b{re.escape(words.lower())}\b") for words in emphasis}
    for words, pattern in patterns.items():
        if not any(map(pattern.search, wordings)):
            raise ValueError(
                f"train.emphasis names {words!r}, but no instruction of the cache "
                f"{str(cache.folder)!r} has these words. Leave them out."
            )
    times = [
        max([emphasis[words] for words, p in patterns.items() if p.search(said)], default=1)
        for said in wordings
    ]
    means = [sum(times[index] for index in group) / len(group) for group in groups]
    return [
        group for group, mean in zip(groups, means, strict=True) for _ in range(max(1, round(mean)))
    ]


def contrasting(cache: Cache, contrasts: Mapping[str, int]) -> list[list[int]]:
    """Pairs of videos with one first frame that one exchange of words tells apart.

    Args:
        contrasts: two words or phrases, "left, right", and how many times a pair comes that an
            instruction of one and of the other are the same but for these, in any wording.

    Raises:
        ValueError: no pair differs in these words.
    """
    said = [{wording.lower() for wording in wordings} for wordings in cache.wordings()]
    pairs = [
        pair
        for family in by_first_frame(cache).values()
        for pair in itertools.combinations(family, 2)
    ]
    drawn = []
    for words, times in contrasts.items():
        one, other = (word.strip().lower() for word in words.split(","))
        found = [
            [a, b]
            for a, b in pairs
            if said[b] & _exchanged(said[a], one, other)
            or said[b] & _exchanged(said[a], other, one)
        ]
        if not found:
            raise ValueError(
                f"train.contrasts names {words!r}, but no two videos of one first frame in the "
                f"cache {str(cache.folder)!r} differ in these words alone. Leave them out."
            )
        drawn += found * times
    return drawn


def _exchanged(wordings: set[str], old: str, new: str) -> set[str]:
    """The wordings with one place that says `old` saying `new` instead."""
    return {
        said[: match.start()] + new + said[match.end() :]
        for said in wordings
        for match in re.finditer(rf"\b{re.escape(old)}\b", said)
    }
