"""The text tower goes on: every token has to name its own word.

Contrastive training (`clip`) lets the tower forget what no single frame shows, such as whether a
thing was pushed from the left: the tokens of "left" and "right" all but become one, and AID, which
reads them, hardly tells them apart. So the tower repeats what it was told, as language models do
and CoCa (Yu et al. 2022) beside its contrasts. Choice: ours.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor, nn

from aid import wording
from aid.config import LoopConfig
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.embedded import save_part
from aid.optim import fit, generator_for

SCALE = 16.0


class WordHead(nn.Module):
    """Names each token's word from its last hidden state; thrown away after the training.

    -ln softmax_w(SCALE cos(h_t, w))[word_t]                           mean over the tokens t

    By the cosine two words' tokens must differ in direction, not only a little times a large
    weight. A word begins at the mean of its tokens.

    Args:
        tokens: of all sentences, from the tower as it is.
        numbers: the tokens' words.
        num_words: of the tokenizer.
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
        """The mean cross-entropy, and the share of tokens that name their word."""
        logits = F.normalize(tokens, dim=-1) @ F.normalize(self.words, dim=-1).T
        right = (logits.argmax(-1) == numbers).float().mean()
        return F.cross_entropy(SCALE * logits, numbers), right


def train_words(out: Path, run: Path, loop: LoopConfig, start: Path) -> None:
    """Trains the text tower of a backbone on, and writes it to `out`.

    Args:
        out: folder of a backbone, a copy of `start`; its other parts stay as they are.
        run: folder of log and saved state.
        loop: length and rate; a step reads `batch_size` of the table-top's sentences.
        start: the backbone whose tower goes on.

    Raises:
        ValueError: `out` is `start` itself.
    """
    if out.resolve() == start.resolve():
        raise ValueError(
            f"--out and --start are both {str(out)!r}. Give --out another folder; the tower that "
            "the training begins with must stay."
        )
    accelerator = Accelerator()
    parts = load_backbone(start, ("text_encoder", "tokenizer"))
    tower = parts.part("text_encoder").to(accelerator.device)
    said = parts.tokenizer(wording.sentences(), padding="max_length", return_tensors="pt")
    ids, mask = said["input_ids"], said["attention_mask"].bool()

    def read(chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of some sentences, without the padding, and their words' numbers."""
        kept, numbers = mask[chosen].to(tower.device), ids[chosen].to(tower.device)
        return tower(numbers, attention_mask=kept).last_hidden_state[kept], numbers[kept]

    with torch.no_grad():
        pieces = [read(chosen) for chosen in torch.arange(len(ids)).split(256)]
    tokens, numbers = (torch.cat(piece) for piece in zip(*pieces, strict=True))
    head = WordHead(tokens, numbers, len(parts.tokenizer)).to(tower.device)
    tower.requires_grad_(True).train()

    def loss(step: int) -> Tensor:
        generator = generator_for(loop.seed, step)
        return head(*read(torch.randint(len(ids), (loop.batch_size,), generator=generator)))[0]

    @torch.no_grad()
    def check(step: int) -> dict[str, float]:
        """The share of tokens, start and end too, that name their word in every 23rd sentence."""
        return {"words": round(float(head(*read(torch.arange(0, len(ids), 23)))[1]), 4)}

    parameters = dict(tower.named_parameters())
    trained = parameters | {f"head.{name}": p for name, p in head.named_parameters()}
    facts = {"start": backbone_hash(start), "seed": loop.seed}
    ema = fit(accelerator, run, trained, loss, loop, title="words", on_check=check, facts=facts)
    ema.swap(trained)
    save_part(out, "text_encoder", tower)
