"""Tiny videos for the rivals' tests: a square that moves one pixel a frame."""

import torch

from aid.metrics.pairs import psnr
from aid.rivals.method import Sizes, Videos

SIZES = Sizes(num_frames=4, channels=3, height=16, width=16, text_dim=8, text_length=3)


def moving_squares(count: int, seed: int = 0, sizes: Sizes = SIZES) -> Videos:
    """Squares that start at random places; red ones go right, green ones go down.

    What comes next can be read from the first frame, by its colour.
    """
    draw = torch.Generator().manual_seed(seed)
    videos = torch.full((count, sizes.num_frames, sizes.channels, sizes.height, sizes.width), -0.2)
    side = sizes.height // 4
    for video in videos:
        room = sizes.height - side - sizes.num_frames
        top, left, kind = torch.randint(0, room + 1, (3,), generator=draw).tolist()
        kind %= 2
        for index, frame in enumerate(video):
            y, x = (top + index, left) if kind else (top, left + index)
            frame[kind, y : y + side, x : x + side] = 0.8
    text = torch.randn(count, sizes.text_length, sizes.text_dim, generator=draw)
    return Videos(videos=videos, text=text, text_mask=torch.ones(text.shape[:2], dtype=torch.bool))


def fit(method, stage: str, videos: Videos, *, steps: int, rate: float, batch_size: int = 8):
    """The losses of `steps` steps of AdamW on random batches."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(method.trained(stage).values(), lr=rate, weight_decay=0)
    losses = []
    for _ in range(steps):
        rows = torch.randperm(len(videos.videos), generator=generator)[:batch_size]
        part = Videos(
            videos=videos.videos[rows], text=videos.text[rows], text_mask=videos.text_mask[rows]
        )
        loss = method.loss(stage, part, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def without_gradient(method, stage: str, batch: Videos) -> list[str]:
    """The names of a stage's parameters that the loss does not reach."""
    method.network.zero_grad()
    method.loss(stage, batch, torch.Generator().manual_seed(1)).mean().backward()
    return [
        name
        for name, parameter in method.trained(stage).items()
        if parameter.grad is None or not parameter.grad.any()
    ]


def draw(method, batch: Videos, seed: int = 0, **options):
    """The method's videos for the first frames of `batch`."""
    generator = torch.Generator().manual_seed(seed)
    return method.draw(batch.videos[:, 0], batch.text, batch.text_mask, generator, **options)


def gain_over_still(method, batch: Videos) -> float:
    """Mean PSNR of the drawn frames after the first, less that of the first frame repeated; dB."""
    gains = []
    for drawn, real in zip(draw(method, batch), batch.videos, strict=True):
        still = real[:1].expand_as(real)
        gains.append((psnr(drawn, real) - psnr(still, real))[1:].mean().item())
    return sum(gains) / len(gains)
