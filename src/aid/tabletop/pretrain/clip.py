"""The embedded CLIP pair: an image tower for SVD's image token and a text tower for AID.

Contrastive training (Radford et al. 2021) on frames of `play` and sentences about them: for the
first frame the items on the table, for the last frame the instruction or the final state. Only
scenes in the standard look have colour words. The UNet's pretraining uses the image tower alone and
sees no text.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from aid.config import LoopConfig, Precision
from aid.data.manifest import read_manifest
from aid.models.backbone import clip_pixels
from aid.optim import fit, generator_for, make_accelerator
from aid.tabletop import language
from aid.tabletop.pretrain.config import ClipConfig
from aid.tabletop.pretrain.frames import as_floats, load_videos
from aid.tabletop.pretrain.parts import (
    build_clip,
    build_feature_extractor,
    build_tokenizer,
    save_part,
    split_clip,
)
from aid.types import VideoRow


def sentences_about(row: VideoRow) -> tuple[list[str], list[str]]:
    """Sentences about the first and the last frame of a `play` video in the standard look."""
    task = language.Task(
        *(row.world["task"][key] for key in ("family", "object", "target", "direction"))
    )
    items = [item["name"] for item in row.world["items"]]
    rolled = [items[i:] + items[:i] for i in range(len(items))]
    first = [" and ".join(f"the {name}" for name in names) for names in rolled]
    succeeds = row.world["success"]
    last = [language.states(task, succeeds=succeeds)[-1]]
    return first, last + (language.instructions(task, "train") if succeeds else [])


def contrastive_loss(
    images: Float[Tensor, "b d"], texts: Float[Tensor, "b d"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Symmetric cross-entropy over the batch's similarities (Radford et al. 2021, Fig. 3)."""
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_clip(
    data: Path,
    out: Path,
    run: Path,
    config: ClipConfig,
    loop: LoopConfig,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains both towers; writes image_encoder, feature_extractor, text_encoder and tokenizer.

    Raises:
        ValueError: no video is in the standard look.
    """
    accelerator = make_accelerator(device, precision)
    rows = [row for row in read_manifest(data) if row.world.get("look") == "standard"]
    if not rows:
        raise ValueError(
            f"no video of {str(data)!r} is in the standard look, the only one that has words. Add "
            "the split play: aid tabletop make --scenes.play 1000"
        )
    ends = load_videos(data, rows, frames=[0, -1])
    texts = [sentences_about(row) for row in rows]
    num_held_out = max(1, len(rows) // 20)
    torch.manual_seed(loop.seed)
    tokenizer = build_tokenizer(language.sentences(), config.max_length)
    clip = build_clip(config, tokenizer).to(accelerator.device)
    extractor, size = build_feature_extractor(), clip.config.vision_config.image_size

    def embed(indices: Sequence[int], which: int, generator: torch.Generator):
        frames = as_floats(ends[list(indices), which].to(accelerator.device))
        sentences = []
        for index in indices:
            choices = texts[index][which]
            sentences.append(choices[int(torch.randint(len(choices), (), generator=generator))])
        tokens = tokenizer(sentences, padding="max_length", truncation=True, return_tensors="pt")
        pixels = clip_pixels(frames, size, extractor.image_mean, extractor.image_std)
        ids = tokens["input_ids"].to(accelerator.device)
        mask = tokens["attention_mask"].to(accelerator.device)
        with accelerator.autocast():
            images = clip.visual_projection(clip.vision_model(pixels).pooler_output)
            text = clip.text_projection(clip.text_model(ids, attention_mask=mask).pooler_output)
        return images.float(), text.float()

    def loss(step: int) -> Tensor:
        generator = generator_for(loop.seed, step)
        chosen = torch.randint(
            num_held_out, len(rows), (loop.batch_size,), generator=generator
        ).tolist()
        images, words = embed(chosen, step % 2, generator)
        return contrastive_loss(images, words, clip.logit_scale.exp().clamp(max=100))

    @torch.no_grad()
    def check(step: int) -> dict[str, float]:
        """Share of held-out frames whose own sentence is the nearest of 64."""
        values = {}
        for which, name in enumerate(("first", "last")):
            images, words = embed(range(min(64, num_held_out)), which, generator_for(0, 0))
            nearest = (F.normalize(images, dim=-1) @ F.normalize(words, dim=-1).T).argmax(1)
            own = torch.arange(len(nearest), device=nearest.device)
            values[f"top1_{name}"] = round(float((nearest == own).float().mean()), 4)
        return values

    parameters = dict(clip.named_parameters())
    facts = {"clip": str(config), "seed": loop.seed}
    ema = fit(accelerator, run, parameters, loss, loop, title="clip", on_check=check, facts=facts)
    ema.swap(parameters)
    image_encoder, text_encoder = split_clip(clip)
    save_part(out, "image_encoder", image_encoder)
    save_part(out, "feature_extractor", extractor)
    save_part(out, "text_encoder", text_encoder)
    # A new one: a tokenizer saves the padding and truncation of its last call with it.
    save_part(out, "tokenizer", build_tokenizer(language.sentences(), config.max_length))
