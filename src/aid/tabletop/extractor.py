"""Trains tabletop-r3d, the feature extractor of the table-top world, on real videos.

Called by `aid tabletop extractor`. What comes out is a folder that `aid score --extractor` takes.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from aid.config import LoopConfig, Precision
from aid.data.manifest import read_manifest
from aid.optim import fit, generator_for, make_accelerator
from aid.tabletop.pretrain.frames import as_floats, load_videos
from aid.tabletop.r3d import CLASSES, R3D, R3DConfig, save_r3d, task_labels
from aid.types import VideoRow

NUM_SCALED = 64  # videos from which the scale of the features is computed


def train_extractor(
    data: Path,
    held_out: Path,
    out: Path,
    loop: LoopConfig,
    limit: int | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> dict[str, float]:
    """Trains on the successful videos of `data`, writes `out`, and returns the accuracies.

    Each step reads videos from frame 0 or from frame 1 on, at random, because scores leave the
    given frame out.

    Args:
        data: a split of a table-top data set, such as train.
        held_out: another split, for the accuracy of each question.
        out: folder of the extractor; the run's state is in its folder `runs`.
        loop: settings of the training loop.
        limit: only the first so many videos.
        device: as for `choose_device`.
        precision: of the forward pass.

    Raises:
        ValueError: a split cannot be read, or the run in `out` had other settings.
    """
    accelerator = make_accelerator(device, precision)
    rows = [row for row in read_manifest(data)[:limit] if row.world["success"]]
    unseen = read_manifest(held_out)
    videos, unseen_videos = load_videos(data, rows), load_videos(held_out, unseen)
    labels, unseen_labels = _labels(rows), _labels(unseen)
    torch.manual_seed(loop.seed)
    network = accelerator.prepare(R3D(R3DConfig()))

    def loss(step: int) -> Tensor:
        generator = generator_for(loop.seed, step)
        chosen = torch.randint(len(rows), (loop.batch_size,), generator=generator)
        start = int(torch.randint(2, (), generator=generator))
        frames = as_floats(videos[chosen, start:].to(accelerator.device))
        with accelerator.autocast():
            logits = network.logits(network(frames))
        return sum(
            F.cross_entropy(logits[question].float(), labels[question][chosen].to(frames.device))
            for question in CLASSES
        )

    @torch.no_grad()
    def check(step: int) -> dict[str, float]:
        correct = {question: 0 for question in CLASSES}
        for index in range(0, len(unseen), 32):
            batch = slice(index, index + 32)
            frames = as_floats(unseen_videos[batch, 1:].to(accelerator.device))
            with accelerator.autocast():
                by_question = network.logits(network(frames))
            for question, logits in by_question.items():
                hits = logits.argmax(1).cpu() == unseen_labels[question][batch]
                correct[question] += int(hits.sum())
        return {question: round(count / len(unseen), 4) for question, count in correct.items()}

    parameters = dict(network.named_parameters())
    facts = {"data": data.name, "videos": len(rows), "batch_size": loop.batch_size}
    facts |= {"seed": loop.seed, "steps": loop.steps, "widths": list(network.config.widths)}
    ema = fit(
        accelerator, out / "runs", parameters, loss, loop, title="extractor", on_check=check,
        facts=facts,
    )  # fmt: skip
    ema.swap(parameters)
    accuracy = check(loop.steps)
    with torch.no_grad():
        features = network(as_floats(videos[:NUM_SCALED, 1:].to(accelerator.device)))
    save_r3d(
        out,
        network,
        float(features.square().mean().sqrt()),
        facts | {"held_out": held_out.name, "accuracy": accuracy},
    )
    return accuracy


def _labels(rows: list[VideoRow]) -> dict[str, Int[Tensor, " n"]]:
    labels = [task_labels(row) for row in rows]
    return {question: torch.tensor([one[question] for one in labels]) for question in CLASSES}
