"""Commands that score folders of videos, and what is known of a model.

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

from pathlib import Path
from typing import Literal

from aid.cli.terminal import check_folder, step_bars


def score(
    real: Path,
    made: Path,
    out: Path = Path("score"),
    protocol: Literal["strict", "seer-legacy"] = "strict",
    num_frames: int = 16,
    num_given_frames: int = 1,
    extractor: str = "tabletop-r3d",
    weights: Path | None = None,
    lpips: Path | None = None,
    train: Path | None = None,
    baselines: bool = True,
    resamples: int = 100,
    seed: int = 0,
    device: str | None = None,
) -> None:
    """Scores a folder of videos, whoever made them, next to a folder of real ones.

    Args:
        real: folder of real videos: files, or a folder of pictures for each.
        made: folder of the videos to score; equal names are also compared frame by frame.
        out: folder of score.json, score.md, score.html; made if only its parent exists.
        protocol: strict, or seer-legacy to repeat how published numbers were made.
        num_frames: frames of a video, the given ones included.
        num_given_frames: how many the model was given.
        extractor: one of those in docs/evaluation.md.
        weights: of the extractor: a file or folder; the table-top's are shipped.
        lpips: weights of LPIPS as one safetensors file; not measured without.
        train: folder of the training videos, to be sure that none is among the real ones.
        baselines: also score trivial predictions made from the real videos.
        resamples: of the bootstrap.
        seed: of bootstrap and halves.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
    """
    check_folder(out if out.exists() else out.parent)
    from aid.metrics.card import markdown
    from aid.metrics.extractors.choice import choose_extractor
    from aid.metrics.lpips import load_lpips
    from aid.metrics.protocol import choose_protocol
    from aid.models.devices import choose_device
    from aid.score import score as compare

    on = str(choose_device(device))
    chosen = choose_protocol(protocol, num_frames, num_given_frames)
    with step_bars() as on_video:
        comparison = compare(
            real, made, out=out, protocol=chosen,
            extractor=choose_extractor(extractor, weights, on), train=train,
            with_baselines=baselines, num_resamples=resamples, seed=seed,
            perceptual=load_lpips(lpips) if lpips else None, on_video=on_video,
        )  # fmt: skip
    print(markdown(comparison))
    print(out / "score.html")


def card(model: str, score: Path | None = None) -> None:
    """Writes the model card of a checkpoint again, with the figures of its score cards.

    Args:
        model: "tabletop" or a checkpoint's folder.
        score: folder that `aid evaluate` wrote; by default all that lie beside the checkpoint and
            were made with its weights. Without any a card that is there stays as it is.
    """
    from aid.models.checkpoint import write_card
    from aid.predict import find_checkpoint
    from aid.predict.figures import figures_of

    folder = find_checkpoint(model)
    print(write_card(folder, figures_of(folder, score)))
