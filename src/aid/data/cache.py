"""What training reads: latents, condition latents, image and text tokens, made once by `prepare`.

A cache is a folder:

    cache.json                  what made it (the fingerprint); written last
    rows.json                   one entry per video: id, first frame, sentences, all by number
    sentences.safetensors       tokens and mask of every distinct sentence
    first_frames-*.safetensors  what is known of each distinct first frame
    filling.safetensors         the latent that stands for the frames that are not given
    videos-*.safetensors        latents, SHARD videos a file

Every distinct sentence and every distinct first frame is stored once. Files are memory-mapped, so
the size of a set does not matter. Nothing here knows a model.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aid.video import whole_file

SHARD = 256
SETTINGS = "cache.json"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some videos as training reads them."""

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


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file, whole or not at all."""
    with whole_file(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


class Cache:
    """A finished cache, opened for reading.

    Raises:
        ValueError: it is missing, unfinished or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / SETTINGS).is_file():
            raise ValueError(
                f"{str(folder)!r} is not a finished cache. Make it: "
                f"aid prepare --data DATA --out '{folder}'"
            )
        self.settings = json.loads((folder / SETTINGS).read_text())
        self.rows = json.loads((folder / "rows.json").read_text())
        sentences = self._open("sentences.safetensors")
        self._tokens, self._mask = sentences.get_tensor("tokens"), sentences.get_tensor("mask")

    def __len__(self) -> int:
        """How many videos."""
        return len(self.rows)

    def require(self, **wanted: Any) -> None:
        """Refuses the cache if it was made for anything else, naming what differs.

        Raises:
            ValueError: a setting differs.
        """
        for name, value in wanted.items():
            have = self.settings["fingerprint"].get(name)
            if have != value:
                raise ValueError(
                    f"cache {str(self.folder)!r} was made with {name} = {have!r}, this run needs "
                    f"{value!r}. Make another with aid prepare, or change the recipe."
                )

    @property
    def states_see(self) -> list[str]:
        """What the states of its videos are made from: "video", "first_frame", "text"."""
        made_with = self.settings["fingerprint"]
        # A cache from before this was recorded knows its writer only.
        old = {"replay": ["video"], "tabletop-rules": ["text"]}.get(
            made_with.get("state_writer"), []
        )
        return made_with.get("states_see", old)

    @functools.lru_cache(maxsize=64)  # noqa: B019  (a cache lives as long as its run)
    def _open(self, name: str) -> Any:
        path = self.folder / name
        try:
            return safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"cache file {str(path)!r} cannot be read ({error}). Delete it and run aid prepare "
                "again; the other files are kept."
            ) from None

    def _rows_of(self, stem: str, name: str, indices: list[int]) -> Tensor:
        """Row `i` of tensor `name`, wherever its shard is, for each index."""
        return torch.stack(
            [
                self._open(f"{stem}-{i // SHARD:05d}.safetensors").get_slice(name)[i % SHARD]
                for i in indices
            ]
        ).float()

    def _sentence(self, number: int) -> tuple[Tensor, Tensor]:
        return self._tokens[number].float(), self._mask[number]

    def empty_sentence(self) -> tuple[Float[Tensor, "1 n d"], Bool[Tensor, "1 n"]]:
        """Tokens and mask of ""; it is always sentence 0."""
        tokens, mask = self._sentence(0)
        return tokens[None], mask[None]

    def _text(self, instructions: list[int], states: list[list[int]]) -> dict[str, Tensor]:
        said = [self._sentence(number) for number in instructions]
        staged = [[self._sentence(number) for number in numbers or [0]] for numbers in states]
        length = max(sum(len(mask) for _, mask in stages) for stages in staged)
        tokens = torch.zeros(len(staged), length, self._tokens.shape[-1])
        masks = torch.zeros(len(staged), length, dtype=torch.bool)
        for index, stages in enumerate(staged):
            joined = torch.cat([mask for _, mask in stages])
            tokens[index, : len(joined)] = torch.cat([token for token, _ in stages])
            masks[index, : len(joined)] = joined
        return {
            "instruction_tokens": torch.stack([token for token, _ in said]),
            "instruction_mask": torch.stack([mask for _, mask in said]),
            "state_tokens": tokens,
            "state_mask": masks,
        }

    def batch(
        self,
        indices: list[int],
        generator: torch.Generator | None = None,
        text_of: list[int] | None = None,
    ) -> Batch:
        """The videos at `indices`.

        Args:
            generator: draws a wording and a noise augmentation of each; without it the first.
            text_of: rows whose instruction and states are used instead of the videos' own.
        """

        def draw(high: int) -> int:
            if generator is None:
                return 0
            return int(torch.randint(high, (), generator=generator))

        rows = [self.rows[i] for i in indices]
        frames = [row["first_frame"] for row in rows]
        said = [self.rows[i] for i in (text_of or indices)]
        latents = self._rows_of("videos", "latents", indices)
        strength = self._rows_of("first_frames", "noise_aug_strength", frames)
        which = torch.tensor([draw(strength.shape[1]) for _ in indices])
        condition = self._rows_of("first_frames", "given_latents", frames)
        pick = torch.arange(len(indices))
        return Batch(
            latents=latents,
            condition_latents=self._fill(condition[pick, which], latents.shape[1]),
            noise_aug_strength=strength[pick, which],
            image_embedding=self._rows_of("first_frames", "image_embedding", frames),
            image_tokens=self._rows_of("first_frames", "image_tokens", frames),
            fps=torch.tensor([row["fps"] for row in rows]),
            **self._text(
                [row["instructions"][draw(len(row["instructions"]))] for row in said],
                [row["states"] for row in said],
            ),
        )

    def _fill(
        self, given: Float[Tensor, "b k c h w"], num_frames: int
    ) -> Float[Tensor, "b f c h w"]:
        """Condition latents of whole videos from those of the given frames."""
        missing = num_frames - given.shape[1]
        if self.settings["fingerprint"]["frame_condition"] == "repeat_first":
            rest = given[:, :1].expand(-1, missing, -1, -1, -1)
        else:
            rest = self._open("filling.safetensors").get_tensor("latent").float()
            rest = rest.expand(len(given), missing, -1, -1, -1)
        return torch.cat([given, rest], dim=1)


def refuse_mixed_states(states_see: dict[str, Sequence[str]]) -> None:
    """Refuses states that know the whole video beside states that do not.

    A model that learns from both cannot tell which to trust, and a score on unseen videos then says
    nothing: the first kind knows the answer.

    Args:
        states_see: for each source (a cache, a checkpoint) what its states are made from.

    Raises:
        ValueError: one kind is "video" and another is not.
    """
    kinds = {kind for kinds in states_see.values() for kind in kinds}
    if "video" in kinds and len(kinds) > 1:
        said = "; ".join(
            f"{name}: {', '.join(kinds) or 'none'}" for name, kinds in states_see.items()
        )
        raise ValueError(
            f"states made from the whole video stand beside states made without it ({said}). "
            "Prepare all with one state writer, or allow it: --train.allow_mixed_states true"
        )


def epoch_order(length: int, seed: int, epoch: int) -> list[int]:
    """The order of an epoch: a pure function of (seed, epoch)."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(length, generator=generator).tolist()


def batch_indices(length: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Which videos step `step` sees: the epochs' orders one after another, cut into batches."""
    order: list[int] = []
    position = step * batch_size
    while len(order) < batch_size:
        epoch, offset = divmod(position + len(order), length)
        order += epoch_order(length, seed, epoch)[offset : offset + batch_size - len(order)]
    return order
