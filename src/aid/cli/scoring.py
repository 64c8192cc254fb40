"""Commands that score folders of videos, and what is known of a model.

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

from pathlib import Path
from typing import Literal

from aid.cli.terminal import check_folder, step_bars
from aid.config import Precision


def score(
    real: Path,
    made: Path,
    out: Path = Path("score"),
    protocol: Literal["strict", "seer-legacy"] = "strict",
    num_frames: int = 16,
    num_given_frames: int = 1,
    extractor: str | None = None,
    weights: Path | None = None,
    backbone: str | None = None,
    lpips: Path | None = None,
    train: Path | None = None,
    baselines: bool = True,
    resamples: int = 100,
    check_videos: int = 128,
    seed: int = 0,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Scores a folder of videos of any origin next to a folder of real ones.

    Args:
        real: folder of real videos: files, or a folder of pictures for each.
        made: folder of the videos to score; equal names are also compared frame by frame.
        out: folder of score.json, score.md, score.html; made if only its parent exists.
        protocol: strict, or seer-legacy to repeat how published numbers were made.
        num_frames: frames of a video, the given ones included.
        num_given_frames: how many the model was given.
        extractor: i3d, videomae, vjepa2 or clip (with --weights), clip-frames (with --backbone),
            tabletop-r3d (for table-top videos), or none. By default the one that --weights are
            of, else the image encoder of --backbone, else none: then no distances are measured.
        weights: of the extractor: a file or folder; the table-top's are shipped.
        backbone: whose image encoder looks at the frames: a folder, "tabletop", or a name on the
            Hugging Face Hub.
        lpips: weights of LPIPS as one safetensors file; not measured without.
        train: folder of the training videos, to be sure that none is among the real ones.
        baselines: also score trivial predictions made from the real videos.
        resamples: of the bootstrap.
        check_videos: real videos, at most, on which the extractor is tested: whether it can tell
            blurred, noisy, shuffled and otherwise spoilt videos of this data from real ones.
        seed: of bootstrap and halves.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    check_folder(out if out.exists() else out.parent)
    from aid.cli.extracting import extractor_for
    from aid.metrics.card import markdown
    from aid.metrics.lpips import load_lpips
    from aid.metrics.protocol import choose_protocol
    from aid.score import score as compare

    chosen = choose_protocol(protocol, num_frames, num_given_frames)
    with step_bars() as on_video:
        comparison = compare(
            real, made, out=out, protocol=chosen,
            extractor=extractor_for(
                extractor, weights, backbone=backbone, device=device, precision=precision
            ),
            train=train, with_baselines=baselines, num_resamples=resamples,
            check_videos=check_videos, seed=seed,
            perceptual=load_lpips(lpips) if lpips else None, on_video=on_video,
        )  # fmt: skip
    print(markdown(comparison))
    print(out / "score.html")
