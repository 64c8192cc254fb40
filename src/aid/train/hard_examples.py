"""Hard-example sampling: which videos of a cache are drawn together, and how often.

A step draws groups (`data.order.batch_indices`), each a single video or several of one first frame.
A group that stands in the list several times is drawn so many times as often.
"""

import itertools
import re
import warnings
from collections.abc import Mapping, Sequence

from aid.config import HardExampleConfig
from aid.data.cache import Cache


def drawn_groups(cache: Cache, config: HardExampleConfig) -> list[list[int]]:
    """The groups that training draws: `same_frame_groups`, `oversampled`, then the `hard_pairs`.

    Raises:
        ValueError: the cache has no such videos; the message names the setting.
    """
    groups = oversampled(cache, same_frame_groups(cache, config.group_size), config.oversample)
    return groups + hard_pairs(cache, config.hard_pairs)


def by_first_frame(cache: Cache) -> dict[int, list[int]]:
    """The videos of every first frame."""
    found: dict[int, list[int]] = {}
    for index, row in enumerate(cache.rows):
        found.setdefault(row["first_frame"], []).append(index)
    return found


def other_instruction(cache: Cache, indices: Sequence[int]) -> list[int]:
    """For each video the index of one with another instruction.

    One of the same first frame if there is one, else the next video in the cache (cyclically) whose
    instruction differs; the video itself if all have the same instruction.
    """
    of_frame = by_first_frame(cache)
    swapped = []
    for index in indices:
        own = cache.rows[index]
        same_frame = of_frame[own["first_frame"]]
        at = same_frame.index(index)
        following = itertools.chain(
            same_frame[at + 1 :], same_frame[:at], range(index + 1, len(cache.rows)), range(index)
        )
        others = (
            i for i in following if not {*cache.rows[i]["instructions"]} & {*own["instructions"]}
        )
        swapped.append(next(others, index))
    return swapped


def same_frame_groups(cache: Cache, size: int) -> list[list[int]]:
    """The videos in groups of `size` with one first frame; the rest of a division is not used.

    Where no two videos have one first frame, each video is a group of its own, with a warning.

    Raises:
        ValueError: some videos have one first frame, but never `size` of them.
    """
    single = [[index] for index in range(len(cache.rows))]
    if size == 1:
        return single
    same_frame = by_first_frame(cache).values()
    groups = [
        videos[start : start + size]
        for videos in same_frame
        for start in range(0, len(videos) - size + 1, size)
    ]
    if groups:
        return groups
    most = max(len(videos) for videos in same_frame)
    if most > 1:
        raise ValueError(
            f"hard_examples.group_size is {size}, but no first frame of the cache has so many "
            f"videos: the most are {most}. Set hard_examples.group_size to {most}."
        )
    warnings.warn(
        f"hard_examples.group_size is {size}, but no two videos of the cache {str(cache.folder)!r} "
        "have the same first frame. Videos are drawn one by one, as with group_size 1.",
        stacklevel=2,
    )
    return single


def oversampled(
    cache: Cache, groups: Sequence[list[int]], oversample: Mapping[str, int]
) -> list[list[int]]:
    """Every group as many times as the rounded mean of its videos' numbers, and at least once.

    Args:
        cache: has the instructions.
        groups: videos that are drawn together (`same_frame_groups`).
        oversample: words, and how many times as often a video is drawn whose instruction contains
            them in any wording; the largest number counts.

    Raises:
        ValueError: no instruction contains one of the words.
    """
    if not oversample:
        return list(groups)
    wordings = [" | ".join(said).lower() for said in cache.wordings()]
    patterns = {words: re.compile(rf"\b{re.escape(words.lower())}\b") for words in oversample}
    for words, pattern in patterns.items():
        if not any(map(pattern.search, wordings)):
            raise ValueError(
                f"hard_examples.oversample names {words!r}, but no instruction of the cache "
                f"{str(cache.folder)!r} contains these words. Remove them."
            )
    times = [
        max([oversample[words] for words, p in patterns.items() if p.search(said)], default=1)
        for said in wordings
    ]
    means = [sum(times[index] for index in group) / len(group) for group in groups]
    return [
        group for group, mean in zip(groups, means, strict=True) for _ in range(max(1, round(mean)))
    ]


def hard_pairs(cache: Cache, pairs: Mapping[str, int]) -> list[list[int]]:
    """Pairs of videos of one first frame whose instructions differ in two words only.

    Args:
        cache: has the instructions.
        pairs: two words or phrases, such as "left, right", and how many times each pair is drawn
            in which an instruction of one video, with one phrase replaced by the other, is an
            instruction of the other video, in any wording.

    Raises:
        ValueError: no pair differs in these words only.
    """
    wordings = [{wording.lower() for wording in wordings} for wordings in cache.wordings()]
    candidates = [
        pair
        for videos in by_first_frame(cache).values()
        for pair in itertools.combinations(videos, 2)
    ]
    drawn = []
    for words, times in pairs.items():
        one, other = (word.strip().lower() for word in words.split(","))
        found = [
            [a, b]
            for a, b in candidates
            if wordings[b] & _replaced(wordings[a], one, other)
            or wordings[b] & _replaced(wordings[a], other, one)
        ]
        if not found:
            raise ValueError(
                f"hard_examples.hard_pairs names {words!r}, but no two videos of one first frame "
                f"in the cache {str(cache.folder)!r} differ in these words only. Remove them."
            )
        drawn += found * times
    return drawn


def _replaced(wordings: set[str], old: str, new: str) -> set[str]:
    """The wordings with one occurrence of `old` replaced by `new`."""
    return {
        said[: match.start()] + new + said[match.end() :]
        for said in wordings
        for match in re.finditer(rf"\b{re.escape(old)}\b", said)
    }
