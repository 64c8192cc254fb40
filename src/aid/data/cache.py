"""The cache: what training reads (latents, image and text tokens), made once by `prepare`.

A cache is a folder:

    cache.json                  settings (the fingerprint) and list of its files; written last
    rows.jsonl                  one line per video: id, and the numbers of first frame and sentences
    rows.safetensors            offset of each line
    videos-*.safetensors        latents, and the given frames as pixels
    first_frames-*.safetensors  tokens and noised latents of each distinct first frame
    sentences-*.safetensors     tokens of each distinct sentence
    sentences.json              the sentences
    filling-*.safetensors       the latent in place of frames that are not given

Every distinct sentence and every distinct first frame is stored once. Files are memory-mapped and
rows are read when they are needed, so memory does not grow with the data set. No model is needed.
"""

import functools
import json
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aid.data.frames import floats
from aid.data.manifest import MANIFEST
from aid.data.shards import FORMAT, ShardedRows, check_file, open_shard

SETTINGS = "cache.json"
ROWS, OFFSETS, SENTENCES = "rows.jsonl", "rows.safetensors", "sentences.json"
STORED_BYTES = 2
"""Of a number that is stored as float16."""
NUM_NOISED = 4
"""Noise augmentations that are stored of a first frame. Not in the paper."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some videos, as training reads them."""

    latents: Float[Tensor, "b f c h w"]
    condition_latents: Float[Tensor, "b f c h w"]
    noise_aug_strength: Float[Tensor, " b"]
    image_embedding: Float[Tensor, "b 1 d"]
    image_tokens: Float[Tensor, "b p image"]
    fps: Float[Tensor, " b"]
    instruction_tokens: Float[Tensor, "b n text"]
    instruction_mask: Bool[Tensor, "b n"]
    state_tokens: Float[Tensor, "b s text"]
    state_mask: Bool[Tensor, "b s"]


class Rows(Sequence):
    """The lines of rows.jsonl as dicts, each read when it is accessed."""

    def __init__(self, folder: Path) -> None:
        starts, _ = open_shard(folder / OFFSETS)
        self._starts = starts["starts"]
        try:
            with (folder / ROWS).open("rb") as file:
                self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"cache file {str(folder / ROWS)!r} cannot be read ({error})."
            ) from None
        if len(self._lines) != int(self._starts[-1]):
            raise ValueError(
                f"cache file {str(folder / ROWS)!r} is damaged: it has {len(self._lines)} bytes "
                f"instead of {int(self._starts[-1])}. Run aid prepare again."
            )

    def __len__(self) -> int:
        """Number of videos."""
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The line of one video."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        start, end = self._starts[index : index + 2].tolist()
        return json.loads(self._lines[start:end])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All lines, in order."""
        return (self[index] for index in range(len(self)))


def read_settings(folder: Path) -> dict[str, Any]:
    """The contents of `cache.json`.

    Raises:
        ValueError: the folder has no finished cache, one of another version, or a damaged one.
    """
    if not (folder / SETTINGS).is_file():
        if made := sorted(path.parent for path in folder.glob(f"*/{SETTINGS}")):
            names = ", ".join(repr(path.name) for path in made)
            raise ValueError(
                f"{str(folder)!r} is no cache itself. It holds the cache{'s' * (len(made) > 1)} "
                f"{names}. Give {'one of them, such as ' * (len(made) > 1)}{str(made[0])!r}"
            )
        if (folder / MANIFEST).is_file():
            raise ValueError(
                f"{str(folder)!r} is a data set, not a cache. Make one: "
                f"aid prepare --data '{folder}' --out '{folder}_cache'"
            )
        if folder.exists() and not any(folder.glob("*.safetensors")):
            raise ValueError(
                f"{str(folder)!r} is no cache. Give a folder that aid prepare wrote, or make one: "
                "aid prepare --data DATA --out CACHE"
            )
        raise ValueError(
            f"{str(folder)!r} is not a finished cache. Make it: "
            f"aid prepare --data DATA --out '{folder}'"
        )
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{str(folder / SETTINGS)!r} is damaged ({error}). Delete that file and run "
            "the same aid prepare again: finished shards are kept."
        ) from None
    if settings.get("format") != FORMAT:
        raise ValueError(
            f"{str(folder)!r} was made by another version (cache format "
            f"{settings.get('format', 1)}, this one reads {FORMAT}). Make it again with "
            "aid prepare."
        )
    return settings


class Cache:
    """A finished cache, opened for reading. A copy in another process opens the files again.

    Raises:
        ValueError: it is missing, unfinished, damaged or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = read_settings(folder)
        files = self.settings.get("files", {})
        small = (ROWS, OFFSETS, SENTENCES, self.settings["filling"])
        for name, facts in files.items():
            check_file(folder / name, facts, content=name in small)
        self.rows = Rows(folder)
        self._videos = ShardedRows(folder, self.settings["videos"], files)
        self._firsts = ShardedRows(folder, self.settings["first_frames"], files)
        self._sentences = ShardedRows(folder, self.settings["sentences"], files)
        self._filling: Tensor | None = None
        if self.settings["filling"]:
            self._filling = open_shard(folder / self.settings["filling"])[0]["latent"].float()

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        """Pickling for a worker process sends the folder's name, no open files."""
        return type(self), (self.folder,)

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.rows)

    def wordings(self) -> list[list[str]]:
        """The wordings of every video's instruction."""
        try:
            sentences = json.loads((self.folder / SENTENCES).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"cache file {str(self.folder / SENTENCES)!r} cannot be read ({error})."
            ) from None
        return [[sentences[number] for number in row["instructions"]] for row in self.rows]

    def require(self, **wanted: Any) -> None:
        """Raises if the cache was made with other settings, naming the first that differs.

        Raises:
            ValueError: a setting differs.
        """
        for name, value in wanted.items():
            have = self.settings["fingerprint"].get(name)
            if have != value:
                raise ValueError(
                    f"cache {str(self.folder)!r} was made with {name} = {have!r}, and this run "
                    f"needs {value!r}. Make another with aid prepare, or change the recipe."
                )

    @functools.cached_property
    def fps(self) -> float:
        """Mean frame rate of its videos."""
        return sum(row["fps"] for row in self.rows) / len(self)

    @property
    def states_see(self) -> list[str]:
        """What the states of its videos were made from: "video", "first_frame", "text"."""
        return self.settings["fingerprint"]["states_see"]

    def _first_frames(self, numbers: list[int], names: tuple[str, ...]) -> list[Tensor]:
        found = [self._firsts.find(number) for number in numbers]
        return [torch.stack([shard[name][at] for shard, at in found]).float() for name in names]

    def _sentence(self, number: int, tokens: Tensor, mask: Tensor) -> None:
        """Writes the tokens and the mask of a sentence into the given tensors."""
        shard, at = self._sentences.find(number)
        start, end = shard["starts"][at : at + 2].tolist()
        tokens[: end - start] = shard["tokens"][start:end]
        mask[: end - start] = True

    def _joined(self, sentences: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Tokens and mask of the concatenated sentences of each video."""
        n, d = self.settings["sentence_length"], self.settings["text_dim"]
        longest = max(len(numbers) for numbers in sentences)
        tokens = torch.zeros(len(sentences), longest * n, d)
        mask = torch.zeros(len(sentences), longest * n, dtype=torch.bool)
        for row, numbers in enumerate(sentences):
            for place, number in enumerate(numbers):
                self._sentence(number, tokens[row, place * n :], mask[row, place * n :])
        return tokens, mask

    def empty_sentence(self) -> tuple[Float[Tensor, "1 n d"], Bool[Tensor, "1 n"]]:
        """Tokens and mask of ""; it is always sentence 0."""
        return self._joined([[0]])

    def given_frames(self, indices: list[int]) -> Float[Tensor, "b k 3 H W"]:
        """The given frames in [-1, 1], without noise."""
        kept = []
        for shard, at in map(self._videos.find, indices):
            kept.append(floats(shard["given_frames"][int(shard["given_of"][at])]))
        return torch.stack(kept)

    def batch(
        self,
        indices: list[int],
        generator: torch.Generator | None = None,
        text_of: list[int] | None = None,
    ) -> Batch:
        """The videos at `indices`.

        Args:
            generator: draws a wording and a noise augmentation of each video; None takes the first.
            text_of: rows whose instruction and states are used instead of the videos' own.
        """

        def draw(high: int) -> int:
            if generator is None:
                return 0
            return int(torch.randint(high, (), generator=generator))

        rows = [self.rows[i] for i in indices]
        texts = [self.rows[i] for i in text_of] if text_of else rows
        latents = torch.stack([s["latents"][at] for s, at in map(self._videos.find, indices)])
        frames = [row["first_frame"] for row in rows]
        found = [self._firsts.find(number) for number in frames]
        which = [draw(shard["noise_aug_strength"].shape[1]) for shard, _ in found]
        picked = list(zip(found, which, strict=True))
        condition = torch.stack([shard["given_latents"][at, v] for (shard, at), v in picked])
        strength = torch.stack([shard["noise_aug_strength"][at, v] for (shard, at), v in picked])
        names = ("image_embedding", "image_tokens")
        embedding, image_tokens = self._first_frames(frames, names)
        instruction_tokens, instruction_mask = self._joined(
            [[row["instructions"][draw(len(row["instructions"]))]] for row in texts]
        )
        state_tokens, state_mask = self._joined([row["states"] or [0] for row in texts])
        return Batch(
            latents=latents.float(),
            condition_latents=self._fill(condition.float(), latents.shape[1]),
            noise_aug_strength=strength.float(),
            image_embedding=embedding,
            image_tokens=image_tokens,
            fps=torch.tensor([float(row["fps"]) for row in rows]),
            instruction_tokens=instruction_tokens,
            instruction_mask=instruction_mask,
            state_tokens=state_tokens,
            state_mask=state_mask,
        )

    def _fill(
        self, given: Float[Tensor, "b k c h w"], num_frames: int
    ) -> Float[Tensor, "b f c h w"]:
        """Condition latents of whole videos from those of the given frames."""
        missing = num_frames - given.shape[1]
        if self._filling is None:  # the first frame stands for the others
            rest = given[:, :1].expand(-1, missing, -1, -1, -1)
        else:
            rest = self._filling.expand(len(given), missing, -1, -1, -1)
        return torch.cat([given, rest], dim=1)


def verify(folder: Path) -> tuple[int, int]:
    """Reads all files of a cache and compares their checksums.

    Returns:
        The number of its files and of their bytes.

    Raises:
        ValueError: it is not a finished cache, or files are damaged or missing; all are named.
    """
    files, damaged = read_settings(folder).get("files", {}), []
    for name, facts in files.items():
        try:
            check_file(folder / name, facts)
        except ValueError:
            damaged.append(name)
    if damaged:
        raise ValueError(
            f"{len(damaged)} of {len(files)} files of cache {str(folder)!r} are damaged or "
            f"missing: {', '.join(damaged)}. Run the same aid prepare again: it makes only these "
            "again."
        )
    return len(files), sum(facts["bytes"] for facts in files.values())


def refuse_mixed_states(states_see: dict[str, Sequence[str]]) -> None:
    """Raises if some states were made from whole videos and others were not.

    States made from the whole video contain the answer. A model trained on both kinds cannot tell
    which to trust, and its score on unseen videos is meaningless.

    Args:
        states_see: for each source (a cache, a checkpoint) what its states were made from.

    Raises:
        ValueError: one kind is "video" and another is not.
    """
    kinds = {kind for kinds in states_see.values() for kind in kinds}
    if "video" in kinds and len(kinds) > 1:
        sources = "; ".join(
            f"{name}: {', '.join(kinds) or 'none'}" for name, kinds in states_see.items()
        )
        raise ValueError(
            f"states made from whole videos are mixed with others ({sources}). Prepare all data "
            "with one state writer, or allow it: --train.allow_mixed_states true"
        )


@dataclass(frozen=True, kw_only=True)
class CacheSize:
    """Bytes of a cache, by what they hold."""

    latents: int
    given_frames: int
    first_frames: int
    text: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.latents + self.given_frames + self.first_frames + self.text


@runtime_checkable
class Sizes(Protocol):
    """The sizes of a backbone's outputs; `models.sizes` has them."""

    latent_channels: int
    down_scaling: int
    num_image_tokens: int
    image_dim: int
    image_embedding_dim: int
    text_dim: int


def cache_size(
    sizes: Sizes,
    *,
    num_videos: int,
    num_firsts: int,
    num_tokens: int,
    num_frames: int,
    num_given_frames: int,
    height: int,
    width: int,
) -> CacheSize:
    """Bytes of a cache of `num_videos` videos with `num_firsts` distinct first frames.

    Args:
        sizes: of the backbone.
        num_videos: in the cache.
        num_firsts: distinct first frames.
        num_tokens: of all distinct sentences together.
        num_frames: of a video.
        num_given_frames: of them given.
        height: in pixels.
        width: in pixels.
    """
    cells = (height // sizes.down_scaling) * (width // sizes.down_scaling)
    latent = sizes.latent_channels * cells * STORED_BYTES
    image = (sizes.num_image_tokens * sizes.image_dim + sizes.image_embedding_dim) * STORED_BYTES
    return CacheSize(
        latents=num_videos * num_frames * latent,
        given_frames=num_firsts * num_given_frames * 3 * height * width,
        first_frames=num_firsts * (NUM_NOISED * num_given_frames * latent + image),
        text=num_tokens * sizes.text_dim * STORED_BYTES,
    )
