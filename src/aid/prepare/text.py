"""Shards of sentences, and the rows that refer to them: each distinct sentence is stored once."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch

from aid.conditioning.encoders import encode_sentences
from aid.conditioning.states import StateWriter, checked_states
from aid.data.cache import OFFSETS, ROWS
from aid.data.frames import picture_of
from aid.data.shards import open_shard, shard_name
from aid.prepare.encoding import EncodingJob, ShardResult
from aid.types import VideoRow


def encode_text(job: EncodingJob, shards: Iterable[list[str]]) -> Iterator[ShardResult]:
    """Tokens of all sentences without padding; `starts` has the offset of each."""
    for members in shards:
        name = shard_name("sentences", [job.arithmetic(), members])
        if not job.has_whole(name):
            parts = job.parts
            with job.memory():
                made = encode_sentences(parts.tokenizer, parts.part("text_encoder"), members)
            tokens, mask = (tensor.cpu() for tensor in made)
            starts = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
            tensors = {"tokens": tokens[mask].half(), "starts": starts}
            sizes = {"length": mask.shape[1], "dim": tokens.shape[-1]}
            job.store.write_tensors(name, tensors, sizes)
        yield ShardResult(name=name, num_rows=len(members), facts=job.store.facts(name))


def sentence_sizes(job: EncodingJob, name: str) -> tuple[int, int]:
    """Tokens of the longest sentence that the text encoder reads, and the width of a token."""
    with job.store.local([name]) as paths:
        remarks = open_shard(paths[name])[1]
    return remarks["length"], remarks["dim"]


def write_states(
    job: EncodingJob,
    rows: list[VideoRow],
    kept: list[int],
    firsts: Sequence[tuple[str, int]],
    states: StateWriter,
) -> list[list[str]]:
    """The states of every row that is kept.

    A writer that sees frames gets those of one shard at a time. One that repeats recorded states
    (it has `rows`) gets all of its rows at once.

    Args:
        job: the encoding job.
        rows: all rows.
        kept: numbers of the rows that are kept.
        firsts: of each of them, the shard of videos with its first frame and the index there.
        states: the state writer.
    """
    if states.sees != "first_frame" or hasattr(states, "rows"):
        nothing = np.zeros((job.height, job.width, 3), np.uint8)
        written = states.write([nothing] * len(rows), [row.instruction for row in rows])
        written = checked_states(states, written, len(rows))
        return [written[index] for index in kept]
    written = []
    pairs = zip(kept, firsts, strict=True)
    for shard, members in groupby(pairs, key=lambda pair: pair[1][0]):
        some = list(members)
        with job.store.local([shard]) as paths:
            given = open_shard(paths[shard])[0]["given_frames"]
            frames = [picture_of(given[place, 0]) for _, (_, place) in some]
        written += states.write(frames, [rows[index].instruction for index, _ in some])
    return checked_states(states, written, len(firsts))


def write_rows(
    job: EncodingJob,
    rows: list[VideoRow],
    facts: Sequence[tuple[int, float]],
    written: list[list[str]],
) -> list[str]:
    """Writes the rows of the cache and returns the distinct sentences; the empty one is first.

    Args:
        job: the encoding job.
        rows: those that are kept.
        facts: number of the first frame, and frames a second, of each row.
        written: the states of each row.
    """
    number: dict[str, int] = {"": 0}

    def numbered(sentences: list[str]) -> list[int]:
        return [number.setdefault(sentence, len(number)) for sentence in sentences]

    starts = [0]
    with job.store.writing(ROWS) as path, path.open("wb") as file:
        for row, (first, fps), stages in zip(rows, facts, written, strict=True):
            line = {
                "id": row.id,
                "first_frame": first,
                "fps": fps,
                "instructions": numbered(list(dict.fromkeys([row.instruction, *row.wordings]))),
                "states": numbered(stages),
            }
            file.write(json.dumps(line).encode() + b"\n")
            starts.append(file.tell())
    tensors = {"starts": torch.tensor(starts, dtype=torch.int64)}
    job.store.write_tensors(OFFSETS, tensors)
    return list(number)
