"""Where flicker and blur of predicted videos come from: decoder, sampler, guidance, noise.

COMMAND  python benchmarks/flicker.py --data data/tabletop/val --out runs/flicker --limit 100
         python benchmarks/flicker.py --data data/tabletop/val --out runs/flicker --limit 16 \
           --settings shipped lowest-.02 level-.05 unguided shared-noise
HARDWARE CPU cores
TIME     0.7 s a video and setting on a quiet core with AMX

Samples every row once per setting, with the seeds of `aid evaluate`, and keeps the latents in
--out, so that thresholds of `sampler.static_threshold` cost no further sampling. Prints one table;
the real videos after the autoencoder are its first row.
"""

import argparse
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from aid.config import SamplerConfig
from aid.data.manifest import read_manifest
from aid.diffusion.sampler import sample_euler
from aid.evaluate.judge import wilson_interval
from aid.metrics.likeness import Number, compare
from aid.metrics.protocol import choose_protocol
from aid.metrics.videos import VideoSet
from aid.predict import Predictor, sampling
from aid.predict.static import keep_static
from aid.tabletop.judge import TabletopJudge
from aid.types import VideoRow
from aid.video import read_video, to_float, to_uint8, write_mp4

Latents = Float[Tensor, "b f c h w"]


def shared(noise: Latents) -> Latents:
    """Noise of which nine tenths of the variance are one draw for all frames."""
    return 0.9**0.5 * noise[:, :1] + 0.1**0.5 * noise


SETTINGS: dict[str, tuple[dict, Callable[[Latents], Latents], tuple[float, ...]]] = {
    "shipped": ({}, lambda x: x, ()),
    "lowest-.02": ({"sigma_min": 0.02}, lambda x: x, ()),
    "lowest-1": ({"sigma_min": 1.0}, lambda x: x, ()),
    "level-.05": ({}, lambda x: x, (0.05,)),
    "8-levels": ({"num_steps": 8}, lambda x: x, ()),
    "16-levels": ({"num_steps": 16}, lambda x: x, ()),
    "unguided": ({"text_guidance": 1.0}, lambda x: x, ()),
    "shared-noise": ({}, shared, ()),
}
"""By name: changes of the shipped sampler, of the initial noise, and further levels at its end."""


@contextmanager
def kept_latents(change: Callable[[Latents], Latents], more: tuple[float, ...]):
    """Has the sampler start from changed noise, take more levels, and keep its latents."""
    kept: list[Latents] = []

    def solve(denoise, noisy_latents, sigmas, callback=None):
        sigmas = torch.cat([sigmas[:-1], sigmas.new_tensor([*more, 0.0])])
        kept.append(sample_euler(denoise, change(noisy_latents), sigmas, callback))
        return kept[-1]

    with patch.dict(sampling.SOLVERS, euler=solve):
        yield kept


def sampled(
    predictor: Predictor, name: str, rows: list[VideoRow], data: Path, out: Path
) -> Latents:
    """The latents of every row; those in `out` are not sampled again."""
    path, (settings, change, more) = out / f"{name}.safetensors", SETTINGS[name]
    known = load_file(path)["latents"] if path.is_file() else torch.zeros(0)
    sampler: SamplerConfig = replace(predictor.sampler, static_threshold=0.0, **settings)
    for start in range(len(known), len(rows), 4):
        numbers = range(start, min(start + 4, len(rows)))
        part = [rows[n] for n in numbers]
        with kept_latents(change, more) as kept:
            predictor.predict_many(
                [read_video(data / row.video)[0] for row in part],
                [row.instruction for row in part], list(numbers), fps=[row.fps for row in part],
                sampler=sampler,
            )  # fmt: skip
        known = torch.cat([known, *kept]) if len(known) else torch.cat(kept)
        save_file({"latents": known}, path)
    return known[: len(rows)]


def shown(number: Number | None) -> str:
    """The value and its interval."""
    return "-" if number is None else f"{number.value:.2f} ({number.low:.2f} to {number.high:.2f})"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="val")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["shipped"])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.0, 0.4, 0.6, 0.8, 1.0])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    predictor, judge = Predictor.from_pretrained("tabletop"), TabletopJudge()
    backbone, rows = predictor.backbone, read_manifest(options.data)[: options.limit]
    real = {row.id: options.data / row.video for row in rows}
    sets, obeyed = [], {}

    def add(title: str, latents: list[Latents], threshold: float) -> None:
        """Decodes, writes and judges a set of videos."""
        folder = options.out / "videos" / title
        folder.mkdir(parents=True, exist_ok=True)
        verdicts = []
        for row, one in zip(rows, latents, strict=True):
            video = read_video(real[row.id])
            with torch.no_grad():
                frames = backbone.decode(one[None])
                if threshold:
                    first = to_float(video[:1])
                    known = backbone.encode(first[None])[:, 0]
                    frames = keep_static(frames, one[None], first, known, threshold)
            pixels = to_uint8(frames[0])
            pixels[0] = video[0]
            write_mp4(folder / f"{row.id}.mp4", pixels, row.fps, lossless=True)
            verdicts.append(judge.judge(row, video[0], pixels).is_obeyed)
        obeyed[title] = int(np.sum(verdicts))
        sets.append(VideoSet(title=title, paths={row.id: folder / f"{row.id}.mp4" for row in rows}))

    encoded = []
    for path in real.values():
        with torch.no_grad():
            encoded.append(backbone.encode(to_float(read_video(path))[None])[0])
    add("encoded and decoded", encoded, 0.0)
    for name in options.settings:
        latents = list(sampled(predictor, name, rows, options.data, options.out))
        for threshold in options.thresholds if name == "shipped" else [0.0]:
            add(f"{name}, static {threshold:g}" if threshold else name, latents, threshold)
    protocol = choose_protocol("strict", rows[0].num_frames, 1)
    truth = VideoSet(title="real videos", paths=real)
    found = compare(truth, sets, protocol, None, options.out / "features").likeness
    print(f"{len(rows)} videos\n\n| videos | static flicker | sharpness | static places | moving "
          "places | motion | PSNR | obey |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for title, one in found.items():
        figures = (one.static_flicker, one.sharpness, one.sharpness_static, one.sharpness_moving,
                   one.motion_ratio, one.psnr_predicted)  # fmt: skip
        low, high = wilson_interval(obeyed[title], len(rows))
        cells = [*map(shown, figures), f"{obeyed[title]} ({100 * low:.1f} to {100 * high:.1f} %)"]
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
