"""Whether a rival, made small, learns eight videos by heart: its PSNR beside the still's.

COMMAND  aid tabletop make --out data/tabletop --scenes.train 8
         python benchmarks/rivals_overfit.py VideoFusion --data data/tabletop/train --out runs/eight
HARDWARE one CPU core
TIME     .35 s a step of VideoFusion; the first run prepares the videos (a minute)

The first video of each of eight scenes, so that a first frame has one future; 4 frames of 48 x 48
pixels (Seer: 64 x 64, because its windows do not fit otherwise). The rival is the class that
`aid ablate` runs, with fewer channels, trained in batches of 4 as `aid train --method` trains it.
OUT/NAME/sheet.png shows the videos.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from aid.ablate.drawing import draw_videos, read_facts, weights_file
from aid.ablate.learning import train_method
from aid.ablate.methods import make_method
from aid.ablate.training_videos import TrainingVideos, decode_pixels
from aid.config import TrainConfig
from aid.data.cache import Cache
from aid.data.manifest import read_manifest, write_manifest
from aid.metrics.pairs import psnr
from aid.models.backbone import load_backbone
from aid.predict import find_backbone
from aid.rivals.method import Sizes
from aid.rivals.pvdm import PVDM, PVDMConfig
from aid.rivals.pvdm_autoencoder import AutoencoderConfig
from aid.rivals.pvdm_unet import UNetConfig
from aid.rivals.seer import Seer, SeerConfig
from aid.rivals.simvp import SimVP
from aid.rivals.text_to_image import ImageConfig
from aid.rivals.tune_a_video import TuneAVideo, TuneAVideoConfig
from aid.rivals.videofusion import VideoFusion, VideoFusionConfig
from aid.video import contact_sheet, to_uint8, write_png

NUM_VIDEOS = 8
SAMPLING_STEPS = 20
_IMAGE = ImageConfig(channels=(32, 32), frames_per_video=2)


class SmallSimVP(SimVP):
    """SimVP as `aid ablate` has it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, self.small)


class SmallVideoFusion(VideoFusion):
    """VideoFusion without guidance."""

    learning_rates = {"video": 2e-3}  # noqa: RUF012 - as in the class itself

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, VideoFusionConfig(base=_IMAGE, residual=_IMAGE, guidance=1))


class SmallTuneAVideo(TuneAVideo):
    """Tune-A-Video without guidance."""

    learning_rates = {"image": 2e-3, "video": 2e-3}  # noqa: RUF012

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, TuneAVideoConfig(image=_IMAGE, image_share=0.6, guidance=1))


class SmallSeer(Seer):
    """Seer without guidance."""

    learning_rates = {"image": 2e-3, "video": 2e-3}  # noqa: RUF012

    def __init__(self, sizes: Sizes) -> None:
        config = SeerConfig(image=_IMAGE, image_share=0.5, decomposer_depth=1, guidance=1)
        super().__init__(sizes, config)


class SmallPVDM(PVDM):
    """PVDM with tokens of 64 numbers."""

    learning_rates = {"autoencoder": 2e-3, "diffusion": 1e-3}  # noqa: RUF012

    def __init__(self, sizes: Sizes) -> None:
        autoencoder = AutoencoderConfig(
            patch=8, width=64, depth=2, heads=4, head_dim=16, plane_depth=1, plane_hidden=128
        )
        unet = UNetConfig(width=32, multipliers=(1, 2), blocks=1, attention_levels=1, heads=4)
        super().__init__(sizes, PVDMConfig(autoencoder=autoencoder, unet=unet))


RIVALS = {
    "SimVP": 48, "PVDM": 48, "VideoFusion": 48, "TuneAVideo": 48, "Seer": 64,
}  # fmt: skip
"""Names and the height and width of the videos."""


def prepare(data: Path, cache: Path, size: int) -> None:
    """A cache of the first video of each of eight scenes, and their pixels."""
    scenes = {row.world["scene"]: row for row in reversed(read_manifest(data))}
    rows = [scenes[scene] for scene in sorted(scenes)][:NUM_VIDEOS]
    if len(rows) < NUM_VIDEOS:
        raise SystemExit(f"{data} has {len(rows)} scenes, and {NUM_VIDEOS} are needed")
    chosen = cache.with_name(f"{cache.name}_data")
    (chosen / "videos").mkdir(parents=True, exist_ok=True)
    for row in rows:
        shutil.copy(data / row.video, chosen / row.video)
    write_manifest(chosen, rows)
    flags = ["--model.num_frames", "4", "--frames.height", str(size), "--frames.width", str(size)]
    command = [sys.executable, "-m", "aid.cli", "prepare", "--backbone", "tabletop", *flags]
    subprocess.run([*command, "--data", str(chosen), "--out", str(cache)], check=True)
    decode_pixels(Cache(cache), chosen)


def main() -> None:
    """Trains, draws, and prints one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rival", choices=RIVALS)
    parser.add_argument("--data", type=Path, required=True, help="a split of the table-top")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500, help="of all stages together")
    options = parser.parse_args()
    size = RIVALS[options.rival]
    cache, run = options.out / f"cache{size}", options.out / options.rival
    prepare(options.data, cache, size)
    train = TrainConfig(
        steps=options.steps, batch_size=4, warmup_steps=50, schedule="cosine", beta2=0.99,
        weight_decay=0.0, ema_decay=0.99, log_every=50, save_every=250,
    )  # fmt: skip
    name = f"{Path(__file__).resolve()}:Small{options.rival}"
    train_method(name, cache, run, train=train)
    facts = read_facts(run)
    method = make_method(name, Sizes(**facts["sizes"]), 0)
    method.network.load_state_dict(load_file(weights_file(run, list(facts["stages"])[-1])))
    method.network.eval()

    everything, generator = range(NUM_VIDEOS), torch.Generator().manual_seed(0)
    data = Cache(cache)
    batch = TrainingVideos(data, method.space).batch(everything, generator)
    real = TrainingVideos(data, "pixels").batch(everything, generator).videos
    drawn = draw_videos(
        name, method, batch.videos[:, 0], batch.text, batch.text_mask,
        generator.manual_seed(7), real.shape[1], SAMPLING_STEPS,
    )  # fmt: skip
    if method.space == "latents":
        drawn = load_backbone(find_backbone("tabletop"), ("vae",)).decode(drawn)
    drawn = drawn.clamp(-1, 1)

    def of_predicted(videos: torch.Tensor) -> torch.Tensor:
        return torch.stack([psnr(a, b)[1:].mean() for a, b in zip(videos, real, strict=True)])

    own, still = of_predicted(drawn), of_predicted(real[:, :1].expand_as(real))
    pairs = [
        (title, to_uint8(videos[index]))
        for index in range(4)
        for title, videos in (("real", real), (options.rival, drawn))
    ]
    write_png(run / "sheet.png", contact_sheet(pairs, scale=2, num_columns=4))
    steps = ", ".join(f"{one['steps']} {stage}" for stage, one in facts["stages"].items())
    print(
        f"{options.rival}: {steps} steps, {own.mean():.2f} dB, first frame repeated "
        f"{still.mean():.2f} dB, above it in {int((own > still).sum())} of {NUM_VIDEOS}"
    )


if __name__ == "__main__":
    main()
