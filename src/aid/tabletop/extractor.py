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
from aid.tabletop.r3d import ANSWERS, R3D, R3DConfig, save_r3d, task_answers
from aid.types import VideoRow

NUM_SCALED = 64  # videos that tell the scale of the features


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

    Every video is seen from frame 0 or from frame 1 on, in turn by chance: scores leave the given
    frame out.

    Args:
        data: a split of a table-top data set, such as train.
        held_out: another split, for the accuracy of each answer.
        out: folder of the extractor; the run's state lies in `runs` in it.
        loop: how long and how fast.
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
    right, unseen_right = _answers(rows), _answers(unseen)
    torch.manual_seed(loop.seed)
    network = accelerator.prepare(R3D(R3DConfig()))

    def loss(step: int) -> Tensor:
        generator = generator_for(loop.seed, step)
        chosen = torch.randint(len(rows), (loop.batch_size,), generator=generator)
        start = int(torch.randint(2, (), generator=generator))
        frames = as_floats(videos[chosen, start:].to(accelerator.device))
        with accelerator.autocast():
            said = network.answers(network(frames))
        return sum(
            F.cross_entropy(said[question].float(), right[question][chosen].to(frames.device))
            for question in ANSWERS
        )

    @torch.no_grad()
    def check(step: int) -> dict[str, float]:
        correct = {question: 0 for question in ANSWERS}
        for index in range(0, len(unseen), 32):
            some = slice(index, index + 32)
            frames = as_floats(unseen_videos[some, 1:].to(accelerator.device))
            with accelerator.autocast():
                said = network.answers(network(frames))
            for question, logits in said.items():
                hits = logits.argmax(1).cpu() == unseen_right[question][some]
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
        seen = network(as_floats(videos[:NUM_SCALED, 1:].to(accelerator.device)))
    save_r3d(
        out,
        network,
        float(seen.square().mean().sqrt()),
        facts | {"held_out": held_out.name, "accuracy": accuracy},
    )
    return accuracy


def _answers(rows: list[VideoRow]) -> dict[str, Int[Tensor, " n"]]:
    told = [task_answers(row) for row in rows]
    return {question: torch.tensor([one[question] for one in told]) for question in ANSWERS}
