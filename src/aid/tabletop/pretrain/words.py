"""Trains the text tower further, so that its tokens separate words for objects and directions.

Contrastive training (`clip`) lets the tower forget what no single frame shows, such as the
direction of a push: the tokens of "left" and "right" become almost equal, and AID, which reads
them, hardly distinguishes them. Therefore the tower learns to recover such words from their tokens
(as CoCa, Yu et al. 2022, generates captions beside its contrastive loss), and `keep_weight` limits
the drift of all tokens, so that AID's trained weights stay valid:

    -ln softmax_w(SCALE cos(h_t, w))[word_t]      mean over the tokens t of `NAMING_WORDS`
    + keep_weight |h_t - h0_t|^2 / |h0|^2         mean over all tokens t

Not in the paper.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from aid.config import Precision
from aid.files import sha256_of
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.folder import NETWORK_NAMES, weight_files
from aid.optim import fit, generator_for, make_accelerator
from aid.tabletop import language
from aid.tabletop.pretrain.config import WordStageConfig
from aid.tabletop.pretrain.parts import save_part

SCALE = 16.0


class WordHead(nn.Module):
    """Classifies the words of tokens from their last hidden states; discarded after the training.

    With the cosine, tokens of two words must differ in direction. A word's weight starts at the
    mean of its tokens.

    Args:
        tokens: of all sentences, from the tower before this training.
        numbers: the tokens' words.
        num_words: how many words there are.
    """

    def __init__(
        self, tokens: Float[Tensor, "n d"], numbers: Int[Tensor, " n"], num_words: int
    ) -> None:
        super().__init__()
        sums = tokens.new_zeros(num_words, tokens.shape[1]).index_add_(0, numbers, tokens)
        counts = numbers.bincount(minlength=num_words)[:, None]
        self.words = nn.Parameter(sums / counts.clamp(min=1))

    def forward(
        self, tokens: Float[Tensor, "n d"], numbers: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The mean cross-entropy, and the share of correctly classified tokens."""
        logits = F.normalize(tokens, dim=-1) @ F.normalize(self.words, dim=-1).T
        right = (logits.argmax(-1) == numbers).float().mean()
        return F.cross_entropy(SCALE * logits, numbers), right


def drift_of(tokens: Float[Tensor, "n d"], before: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The squared distance of tokens from their start: mean |h - h0|^2 / mean |h0|^2."""
    return (tokens - before).square().mean() / before.square().mean()


def train_words(
    out: Path,
    run: Path,
    config: WordStageConfig,
    start: Path,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains the text tower of a backbone further, and writes it to `out`.

    Args:
        out: folder of a backbone, a copy of `start`; its other parts do not change.
        run: folder of log and saved state.
        config: weight of the drift and the training loop; a step reads `batch_size` of the
            table-top's sentences.
        start: the backbone with the initial tower.
        device: as for `choose_device`.
        precision: of the forward pass.

    Raises:
        ValueError: `out` is `start` itself or has other parts, or the tokenizer splits the words.
    """
    accelerator = make_accelerator(device, precision)
    if out.resolve() == start.resolve():
        raise ValueError(
            f"--out and --start are both {str(out)!r}. Give --out another folder; the initial "
            "tower must not be overwritten."
        )
    for name in set(NETWORK_NAMES) - {"text_encoder"}:
        own, other = weight_files(start, name), weight_files(out, name)
        if [sha256_of(file) for file in own] != [sha256_of(file) for file in other]:
            raise ValueError(
                f"the {name} in {str(out)!r} is not that of {str(start)!r}, so --out holds another "
                "backbone. Give --out a new folder."
            )
    loop = config.loop
    parts = load_backbone(start, ("text_encoder", "tokenizer"))
    tower = parts.part("text_encoder").to(accelerator.device)
    inputs = parts.tokenizer(language.sentences(), padding="max_length", return_tensors="pt")
    ids, mask = (inputs[key].to(accelerator.device) for key in ("input_ids", "attention_mask"))
    words = torch.full((len(parts.tokenizer),), -1, device=accelerator.device)
    names = parts.tokenizer(list(language.NAMING_WORDS))["input_ids"]  # start, the word, end
    if split := [w for w, one in zip(language.NAMING_WORDS, names, strict=True) if len(one) != 3]:
        raise ValueError(
            f"the tokenizer of {str(start)!r} splits {', '.join(split)}. --stage words is for "
            "backbones that aid tabletop pretrain made."
        )
    words[[one[1] for one in names]] = torch.arange(len(names), device=accelerator.device)
    numbers = words[ids]  # the index of each token's word, or -1

    def read(chosen: Tensor) -> Tensor:
        """The tokens of some sentences, with padding."""
        with accelerator.autocast():
            return tower(ids[chosen], attention_mask=mask[chosen]).last_hidden_state.float()

    with torch.no_grad():
        before = torch.cat([read(chosen) for chosen in torch.arange(len(ids)).split(256)])
    named = numbers >= 0
    head = WordHead(before[named], numbers[named], len(names)).to(tower.device)
    tower.requires_grad_(True).train()

    def compare(chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The head's loss and share of right words, and the tokens' drift."""
        tokens, own, kept = read(chosen), named[chosen], mask[chosen].bool()
        entropy, right = head(tokens[own], numbers[chosen][own])
        return entropy, right, drift_of(tokens[kept], before[chosen][kept])

    def loss(step: int) -> Tensor:
        generator = generator_for(loop.seed, step)
        chosen = torch.randint(len(ids), (loop.batch_size,), generator=generator)
        entropy, _, drift = compare(chosen)
        return entropy + config.keep_weight * drift

    @torch.no_grad()
    def check(step: int) -> dict[str, float]:
        """On every 23rd sentence, the accuracy of these words, and the root mean square drift."""
        _, right, drift = compare(torch.arange(0, len(ids), 23))
        return {"words": round(float(right), 4), "drift": round(float(drift.sqrt()), 4)}

    parameters = dict(tower.named_parameters())
    trained = parameters | {f"head.{name}": p for name, p in head.named_parameters()}
    facts = {"start": backbone_hash(start), "keep_weight": config.keep_weight, "seed": loop.seed}
    ema = fit(accelerator, run, trained, loss, loop, title="words", on_check=check, facts=facts)
    ema.swap(trained)
    save_part(out, "text_encoder", tower)
