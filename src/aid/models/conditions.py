"""All conditions of the denoiser, and how parts of them are dropped.

`train` and `predict` make a `Conditions`; training drops parts of it at random, classifier-free
guidance systematically. It holds the encoders' tokens, never words.

Reference: AID, dual classifier-free guidance; dropout as in InstructPix2Pix (Brooks et al. 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def _padded(tokens: Tensor, length: int) -> Tensor:
    """Tokens `b n d`, or their mask `b n`, with zeros (False) behind up to n = length."""
    missing = length - tokens.shape[1]
    if missing == 0:
        return tokens
    return F.pad(tokens, (0, 0, 0, missing) if tokens.ndim == 3 else (0, missing))


def _same_length(parts: Sequence[Tensor]) -> list[Tensor]:
    longest = max(part.shape[1] for part in parts)
    return [_padded(part, longest) for part in parts]


def _where(dropped: Bool[Tensor, " b"], null: Tensor, own: Tensor) -> Tensor:
    """Row by row `null` where dropped, else `own`."""
    return torch.where(dropped.view(-1, *[1] * (own.ndim - 1)), null, own)


@dataclass(frozen=True, kw_only=True)
class TextTokens:
    """Instruction (t_1) and states (t_2) as the text encoder's tokens; masks are True at words."""

    instruction_tokens: Float[Tensor, "b n text"]
    instruction_mask: Bool[Tensor, "b n"]
    state_tokens: Float[Tensor, "b m text"]
    state_mask: Bool[Tensor, "b m"]

    def _map(self, function) -> "TextTokens":
        return TextTokens(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def zeros(self) -> "TextTokens":
        """Tokens of the same shape without content: all zero, all padding."""
        return self._map(torch.zeros_like)

    def expand(self, batch_size: int) -> "TextTokens":
        """One sample's tokens (b = 1) for a batch; a batch of that size as it is."""
        return self._map(lambda t: t.expand(batch_size, *t.shape[1:]))

    def to(self, *args, **kwargs) -> "TextTokens":
        """As `Tensor.to`, a dtype applying to the tokens only."""

        def moved(t: Tensor) -> Tensor:
            made = t.to(*args, **kwargs)
            return made.bool() if t.dtype == torch.bool else made

        return self._map(moved)

    def pin_memory(self) -> "TextTokens":
        """As `Tensor.pin_memory`, for every tensor."""
        return self._map(torch.Tensor.pin_memory)

    @staticmethod
    def cat(parts: Sequence["TextTokens"]) -> "TextTokens":
        """Several batches as one; shorter ones get padding."""
        return TextTokens(
            **{
                f.name: torch.cat(_same_length([getattr(part, f.name) for part in parts]))
                for f in fields(TextTokens)
            }
        )

    def replaced(self, null: "TextTokens", dropped: Bool[Tensor, " b"]) -> "TextTokens":
        """`null` (b or 1 samples) in the dropped rows; the rest unchanged but for padding."""
        made = {}
        for f in fields(self):
            own, other = _same_length([getattr(self, f.name), getattr(null, f.name)])
            made[f.name] = _where(dropped, other, own)
        return TextTokens(**made)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """c_V and c_T of a batch of videos.

    `condition_latents` are the VAE's `mode()` of the given frames (the rest filled up), *not* times
    the scaling factor. `image_embedding` and `image_tokens` are the image encoder's pooled and
    patch outputs for the first frame. `fps`, `motion_bucket_id` and `noise_aug_strength` are SVD's
    micro-conditions; `fps` is the video's own (the UNet receives `fps - 1`). `text` may be None for
    a model without a DQFormer.
    """

    condition_latents: Float[Tensor, "b f c h w"]
    image_embedding: Float[Tensor, "b 1 d"]
    image_tokens: Float[Tensor, "b p image"]
    fps: Float[Tensor, " b"]
    motion_bucket_id: Float[Tensor, " b"]
    noise_aug_strength: Float[Tensor, " b"]
    text: TextTokens | None = None

    def __len__(self) -> int:
        """How many videos."""
        return len(self.condition_latents)

    @property
    def num_frames(self) -> int:
        """Frames of each video."""
        return self.condition_latents.shape[1]

    @property
    def added_time_ids(self) -> Float[Tensor, "b 3"]:
        """SVD's micro-conditions in the UNet's order; SVD was trained with fps - 1."""
        return torch.stack([self.fps - 1, self.motion_bucket_id, self.noise_aug_strength], dim=1)

    def _all(self) -> Bool[Tensor, " b"]:
        return torch.ones(len(self), dtype=torch.bool, device=self.condition_latents.device)

    def without_text(
        self, null: TextTokens | None, dropped: Bool[Tensor, " b"] | None = None
    ) -> "Conditions":
        """The same videos without their instruction.

        Args:
            null: the empty sentence's tokens (1 or b samples); None puts zeros.
            dropped: which samples; None drops all.
        """
        if self.text is None:
            return self
        null = self.text.zeros() if null is None else null
        dropped = self._all() if dropped is None else dropped
        return replace(self, text=self.text.replaced(null, dropped))

    def without_image(self, dropped: Bool[Tensor, " b"] | None = None) -> "Conditions":
        """The same videos without their given frames: zero latents, embedding and tokens, as SVD.

        Args:
            dropped: which samples; None drops all.
        """
        dropped = self._all() if dropped is None else dropped
        names = ("condition_latents", "image_embedding", "image_tokens")
        own = {name: getattr(self, name) for name in names}
        return replace(
            self,
            **{name: _where(dropped, value.new_zeros(()), value) for name, value in own.items()},
        )

    def dropped_at_random(
        self, null: TextTokens | None, share: float, generator: torch.Generator
    ) -> "Conditions":
        """For training: a `share` of samples loses the text, one both, and one the frames.

        One u ~ U(0, 1) per sample: text dropped if u < 2p, frames dropped if p <= u < 3p.
                                                  (InstructPix2Pix's scheme, Brooks et al. 2023)

        Raises:
            ValueError: three times `share` is more than 1.
        """
        if not 0 <= share <= 1 / 3:
            raise ValueError(
                f"text_dropout must be between 0 and 1/3 (three disjoint shares), got {share}. "
                "Try 0.1."
            )
        u = torch.rand(len(self), generator=generator, device=generator.device)
        u = u.to(self.condition_latents.device)
        made = self.without_image((share <= u) & (u < 3 * share))
        return made.without_text(null, u < 2 * share)

    def to(self, *args, **kwargs) -> "Conditions":
        """As `Tensor.to`, for every tensor."""
        return self._map(lambda part: part.to(*args, **kwargs))

    def pin_memory(self) -> "Conditions":
        """As `Tensor.pin_memory`, for every tensor."""
        return self._map(lambda part: part.pin_memory())

    def _map(self, function) -> "Conditions":
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return Conditions(**{n: p if p is None else function(p) for n, p in parts.items()})

    @staticmethod
    def cat(parts: Sequence["Conditions"]) -> "Conditions":
        """Several batches of conditions as one."""
        names = [f.name for f in fields(Conditions) if f.name != "text"]
        made = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        texts = [part.text for part in parts]
        if any(text is None for text in texts):
            assert all(text is None for text in texts), "all or none of the parts carry text"
            return Conditions(**made)
        return Conditions(**made, text=TextTokens.cat(texts))
