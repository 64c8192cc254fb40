"""Trains the text tower further, so that its tokens separate words for objects and directions.

Contrastive training (`clip`) lets the tower forget what no single frame shows, such as the
direction of a push: the tokens of "left" and "right" become almost equal, and AID, which reads
them, hardly distinguishes them. Therefore the tower learns to recover such words from their tokens
(as CoCa, Yu et al. 2022, generates captions beside its contrastive loss), and `keep_weight` limits
the drift of all tokens:

    -ln softmax_w(SCALE cos(h_t, w))[word_t]      mean over the tokens t of `NAMING_WORDS`
    + keep_weight |h_t - h0_t|^2 / |h0|^2         mean over all tokens t

Not in the paper.
"""

import shutil
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from aid.config import Precision
from aid.files import sha256_of, whole_folder
from aid.models.backbone import load_backbone
from aid.models.folder import weight_files
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
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains the text tower of the backbone `out` further, in place.

    Args:
        out: folder of the backbone; its other parts do not change.
        run: folder of log and saved state. `run/start` keeps the tower as it was at the start.
        config: weight of the drift and the training loop; a step reads `batch_size` of the
            table-top's sentences.
        device: as for `choose_device`.
        precision: of the forward pass.

    Raises:
        ValueError: `out` has no text tower, or its tokenizer splits the words.
    """
    accelerator = make_accelerator(device, precision)
    start = run / "start"
    if not start.is_dir():
        load_backbone(out, ("text_encoder", "tokenizer"))  # refuses what is none
        run.mkdir(parents=True, exist_ok=True)
        with whole_folder(start) as copy:
            for name in ("model_index.json", "text_encoder", "tokenizer"):
                here, there = out / name, copy / name
                shutil.copytree(here, there) if here.is_dir() else shutil.copy2(here, there)
    loop = config.loop
    parts = load_backbone(start, ("text_encoder", "tokenizer"))
    tower = parts.part("text_encoder").to(accelerator.device)
    inputs = parts.tokenizer(
        list(language.sentences()), padding="max_length", truncation=True, return_tensors="pt"
    )
    ids, mask = (inputs[key].to(accelerator.device) for key in ("input_ids", "attention_mask"))
    words = torch.full((len(parts.tokenizer),), -1, device=accelerator.device)
    names = parts.tokenizer(list(language.NAMING_WORDS))["input_ids"]  # start, the word, end
    if split := [w for w, one in zip(language.NAMING_WORDS, names, strict=True) if len(one) != 3]:
        raise ValueError(
            f"the tokenizer of {str(start)!r} splits {', '.join(split)}. The stage words is for "
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
    initial = sha256_of(weight_files(start, "text_encoder")[0])
    facts = {"start": initial, "keep_weight": config.keep_weight, "seed": loop.seed}
    ema = fit(accelerator, run, trained, loss, loop, title="words", on_check=check, facts=facts)
    ema.swap(trained)
    save_part(out, "text_encoder", tower)
