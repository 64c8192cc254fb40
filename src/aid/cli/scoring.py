"""Commands that score videos and models.

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

import hashlib
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from aid.cli.terminal import check_folder, progress_bar
from aid.config import to_json


def evaluate(
    data: Path,
    out: Path,
    predictor: Literal["model", "backbone", "none"] = "model",
    model: str = "tabletop",
    backbone: str | None = None,
    shuffled: bool = False,
    empty: bool = False,
    with_backbone: bool = False,
    limit: int | None = None,
    steps: int | None = None,
    image_guidance: float | None = None,
    text_guidance: float | None = None,
    seed: int = 0,
    batch_size: int = 8,
    mixed_precision: Literal["no", "bf16"] = "no",
    device: str | None = None,
) -> None:
    """Scores a model's videos next to real ones and trivial ones. Run again, it goes on.

    Args:
        data: a split of a table-top data set: test, forks or combos.
        out: folder of the score card and the predictions; made if only its parent exists.
        predictor: the model, its bare backbone (which reads no instruction), or none.
        model: as for `aid predict`.
        backbone: as for `aid predict`.
        shuffled: also tell the model another instruction of the same frame; whoever obeys the
            words does worse then.
        empty: also tell it nothing.
        with_backbone: also score the model's bare backbone, which reads no instruction.
        limit: only the first so many videos.
        steps: sampling steps.
        image_guidance: s_V.
        text_guidance: s_T.
        seed: of the first video; the next ones count up.
        batch_size: videos drawn at once; a seed gives the same video in any batch.
        mixed_precision: arithmetic of the networks; bf16 is several times faster on some CPUs.
        device: cpu or cuda; by default the GPU if there is one.
    """
    check_folder(out if out.exists() else out.parent)
    from aid.data.manifest import read_manifest
    from aid.evaluate import evaluate as score
    from aid.predict import find_model

    rows = read_manifest(data)[:limit]
    timed, textless, title = None, None, "no model"
    made_with: dict[str, Any] = {"mixed_precision": mixed_precision}
    if predictor != "none":
        loaded = _predictor(predictor, model, backbone, device, rows)
        asked = {"num_steps": steps, "image_guidance": image_guidance}
        sampler = loaded.sampler_with(**asked, text_guidance=text_guidance)
        print(loaded.describe())
        timed = _Timed(loaded, sampler, batch_size, mixed_precision)
        made_with |= _identity(loaded, find_model(model, backbone)[1]) | {
            "sampler": to_json(sampler)
        }
        title = model if predictor == "model" else f"bare backbone {loaded.backbone.name}"
        if with_backbone:
            bare = _predictor("backbone", model, backbone, device, rows)
            textless = _Timed(bare, sampler, batch_size, mixed_precision)
    modes = ["true", *["shuffled"] * shuffled, *["empty"] * empty]
    with progress_bar("videos") as on_video:
        card = score(
            rows, data, timed, out=out, textless=textless, modes=modes, seed=seed,
            batch_size=batch_size, made_with=made_with, title=f"{title} on {data.name}",
            on_video=on_video,
        )  # fmt: skip
    print(card.to_markdown())
    for name, one in {"the model": timed, "the bare backbone": textless}.items():
        if one is not None and one.num_videos:
            print(f"{one.seconds / one.num_videos:.2f} s per video of {name}, {one.num_videos} new")
    print(out / "report.json")


def _predictor(kind: str, model: str, backbone: str | None, device: str | None, rows: list) -> Any:
    from aid.predict import Predictor, find_model

    if kind == "model":
        return Predictor.from_pretrained(model, backbone, device)
    fps = sum(row.fps for row in rows) / len(rows)  # not each video's own, which tells its length
    folder = backbone or find_model(model)[1]
    return Predictor.backbone_only(folder, device, num_frames=rows[0].num_frames, fps=fps)


def _identity(predictor: Any, backbone: Path) -> dict[str, str]:
    """What a prediction depends on besides the sampler: hashes of trained and frozen tensors."""
    from aid.models.backbone import backbone_hash

    digest = hashlib.sha256()
    for name, tensor in sorted(predictor.denoiser.trained_state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
    return {"trained": digest.hexdigest()[:16], "backbone": backbone_hash(backbone)}


class _Timed:
    """A predictor as `evaluate` calls it, in the asked precision, with a clock."""

    def __init__(self, predictor: Any, sampler: Any, batch_size: int, mixed_precision: str) -> None:
        self.predictor, self.sampler, self.batch_size = predictor, sampler, batch_size
        self.mixed_precision = mixed_precision
        self.seconds, self.num_videos = 0.0, 0

    def __call__(self, frames: list, instructions: list[str], seeds: list[int]) -> list:
        """A video for each frame, instruction and seed."""
        import torch

        start, predict = monotonic(), self.predictor.predict_many
        device, arithmetic = self.predictor.denoiser.unet.device.type, nullcontext()
        if self.mixed_precision == "bf16":
            arithmetic = torch.autocast(device, torch.bfloat16)
        with arithmetic:
            videos = predict(
                frames, instructions, seeds, sampler=self.sampler, batch_size=self.batch_size
            )
        self.seconds += monotonic() - start
        self.num_videos += len(videos)
        return videos
