"""A tiny `play` split of moving squares, and settings small enough to train all stages on it."""

import numpy as np
import pytest

from aid.config import LoopConfig
from aid.data.manifest import read_manifest, write_manifest
from aid.tabletop.language import CONTAINERS
from aid.tabletop.pretrain.autoencoder import train_autoencoder
from aid.tabletop.pretrain.clip import train_clip
from aid.tabletop.pretrain.config import (
    AutoencoderConfig,
    ClipConfig,
    PretrainConfig,
    UNetConfig,
    VideoStageConfig,
    WordStageConfig,
)
from aid.tabletop.pretrain.image_to_video import train_unet
from aid.types import VideoRow
from aid.video import write_mp4

SIZE, FRAMES, NUM_VIDEOS = 32, 4, 72
RGB = {"red": (210, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 210)}
LOOP = LoopConfig(
    steps=3, batch_size=4, learning_rate=1e-3, warmup_steps=1,
    log_every=1, check_every=3, save_every=3,
)  # fmt: skip
TINY = PretrainConfig(
    autoencoder=AutoencoderConfig(
        image_size=SIZE,
        channels=(12, 8, 8, 16),
        layers_per_block=1,
        latent_channels=8,
        adversarial_from=1,
    ),
    clip=ClipConfig(dim=32, num_heads=2, text_layers=1, image_layers=1, patch_size=112),
    unet=UNetConfig(latent_size=4, latent_channels=8, channels=(32, 32), heads=(0, 2)),
    autoencoder_loop=LOOP,
    clip_loop=LOOP,
    words=WordStageConfig(loop=LOOP),
    coarse=VideoStageConfig(frame_stride=2, loop=LOOP),
    fine=VideoStageConfig(loop=LOOP),
)


ABOVE = {"position": [0.0, 0.0, 1.0], "rotation": np.eye(3).tolist(), "fovy": 90.0}
"""A camera that looks straight down from a metre: x and y from -1 to 1, x to the right."""


def seen(name, x, y=0.0):
    """An item as a manifest of the table-top records it."""
    colour, shape = name.split()
    return {
        "name": name,
        "colour": colour,
        "shape": shape,
        "is_container": shape in CONTAINERS,
        "start": [x, y, 0.0],
    }


def play_video(number, random):
    """A square of one of three colours that is pushed to the left or the right."""
    colour = list(RGB)[number % 3]
    direction = ("left", "right")[number // 3 % 2]
    pixels = np.full((FRAMES, SIZE, SIZE, 3), 120, np.uint8) + random.integers(
        0, 9, (1, SIZE, SIZE, 3)
    )
    for frame in range(FRAMES):
        x = 12 + (3 if direction == "right" else -3) * frame
        pixels[frame, 14:21, x : x + 7] = RGB[colour]
    item = f"{colour} block"
    task = {"family": "push", "object": item, "target": None, "direction": direction}
    row = VideoRow(
        id=f"play-{number}",
        video=f"videos/{number}.mp4",
        instruction="",
        num_frames=FRAMES,
        fps=4.0,
        height=SIZE,
        width=SIZE,
        world={
            "scene": number,
            "look": "standard" if number % 4 else "strange",
            "task": task | {"object_index": 0, "target_index": None},
            "items": [seen(item, 0.0), seen("green bowl", 0.7)],
            "camera": ABOVE,
            "success": number % 5 != 0,
        },
    )
    return row, pixels.astype(np.uint8)


def write_play(folder):
    """The split, in a new folder."""
    random, rows = np.random.default_rng(0), []
    (folder / "videos").mkdir(parents=True)
    for number in range(NUM_VIDEOS):
        row, pixels = play_video(number, random)
        write_mp4(folder / row.video, pixels, fps=row.fps, lossless=True)
        rows.append(row)
    write_manifest(folder, rows)


@pytest.fixture(scope="session")
def play(tmp_path_factory):
    """The split's folder; do not write into it."""
    folder = tmp_path_factory.mktemp("play") / "play"
    write_play(folder)
    assert len(read_manifest(folder)) == NUM_VIDEOS
    return folder


@pytest.fixture(scope="session")
def tiny_pretrain():
    """Settings that train every stage in a few seconds, on 32-pixel videos of 4 frames."""
    return TINY


@pytest.fixture(scope="session")
def runs(play, tmp_path_factory):
    """The runs of all stages; `backbone` in it is the result. Do not write into it."""
    folder = tmp_path_factory.mktemp("runs")
    out = folder / "backbone"
    out.mkdir()
    train_autoencoder(play, out, folder / "vae", TINY.autoencoder, TINY.autoencoder_loop)
    train_clip(play, out, folder / "clip", TINY.clip, TINY.clip_loop)
    train_unet(play, out, folder / "unet", TINY)
    return folder
