"""Commands that make data and models.

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

import os
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from aid.cli.states import recorded_states
from aid.cli.terminal import step_bars
from aid.config import (
    FrameConfig,
    ModelConfig,
    Precision,
    SamplerConfig,
    SourceConfig,
    TrainConfig,
    Tuning,
    tuned,
)
from aid.config.data import HELD_OUT, TRAIN
from aid.files import whole_folder
from aid.tabletop.pretrain.config import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Number of scenes of each split of a table-top data set; 0 leaves the split out."""

    play: int = 0
    """Without instructions, in many looks, for pretraining; up to 2 videos a scene."""
    train: int = 0
    """To learn instructions from; 4 videos a scene."""
    test: int = 0
    """Unseen scenes; 4 videos a scene."""
    forks: int = 0
    """Unseen scenes for comparing instructions on one frame; 4 videos a scene."""
    combos: int = 0
    """Combinations of words that `train` never asks for; 1 video a scene."""
    twins: int = 0
    """To learn shapes from: two objects of one colour, asked in pairs; 4 videos a scene."""


def tabletop(
    out: Path,
    scenes: Scenes,
    size: int = 64,
    num_frames: int = 16,
    seed: int = 0,
    num_workers: int | None = None,
    shadows: bool = False,
) -> None:
    """Makes videos of the built-in table-top world. Run again, it goes on where it stopped.

    Args:
        out: folder of the data set; each split becomes a folder in it.
        scenes: how many of each split.
        size: height and width in pixels, a multiple of 8 from 64 to 256.
        num_frames: frames of a video.
        seed: data sets of different seeds share no scene.
        num_workers: processes; by default one per core.
        shadows: cast shadows, several times slower.
    """
    from aid.tabletop.world.generate import generate

    splits = {name: number for name, number in asdict(scenes).items() if number}
    if not splits:
        raise ValueError("no split was asked for. Say how many scenes: --scenes.train 1000")
    generate(
        out, splits=splits, size=size, num_frames=num_frames, seed=seed,
        num_workers=num_workers, shadows=shadows,
    )  # fmt: skip
    print(out)


def pretrain(
    data: Path,
    out: Path,
    pretrain: PretrainConfig,
    stage: Literal["all", "autoencoder", "clip", "unet", "words"] = "all",
    run: Path | None = None,
    start: Path | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains a small image-to-video backbone from nothing. Run again, it goes on where it stopped.

    Args:
        data: the `play` split of a table-top data set.
        out: folder of the backbone.
        pretrain: sizes and training of the parts.
        stage: which part; the UNet needs the other two. "words", which "all" leaves out, has the
            text tower of `start` go on until words for things and directions are told apart.
        run: folder of logs and saved states; by default `runs` in the backbone's folder.
        start: a backbone to go on from instead of from nothing. Its sizes must be the recipe's, but
            for the UNet's first level: a narrower one is widened.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.models.devices import choose_device

    choose_device(device)  # refuses one that is not there, before anything is written
    run = run or out / "runs"
    if start is not None and not start.is_dir():
        raise ValueError(f"start {str(start)!r} does not exist. Give the folder of a backbone.")
    if start is not None and not out.exists():
        from aid.models.backbone import load_backbone

        load_backbone(start, parts=())  # refuses what is none, before it is copied
        without = shutil.ignore_patterns("runs")
        with whole_folder(out) as copy:
            shutil.copytree(start, copy, ignore=without, dirs_exist_ok=True)
    if stage in ("all", "autoencoder"):
        from aid.tabletop.pretrain.autoencoder import train_autoencoder

        loop = pretrain.autoencoder_loop
        train_autoencoder(
            data, out, run / "autoencoder", pretrain.autoencoder, loop, start, device, precision
        )
    if stage in ("all", "clip"):
        from aid.tabletop.pretrain.clip import train_clip

        train_clip(data, out, run / "clip", pretrain.clip, pretrain.clip_loop, device, precision)
    if stage in ("all", "unet"):
        from aid.tabletop.pretrain.image_to_video import train_unet

        train_unet(data, out, run / "unet", pretrain, start, device, precision)
    if stage == "words":
        from aid.tabletop.pretrain.words import train_words

        if start is None:
            raise ValueError("--stage words goes on from a backbone. Give it with --start.")
        train_words(out, run / "words", pretrain.words, start, device, precision)
    print(out)


def prepare(
    data: str,
    out: str,
    model: ModelConfig,
    asked: SourceConfig,
    backbone: str = "tabletop",
    states: str = "replay",
    unpack_to: Path | None = None,
    frames: FrameConfig | None = None,
    skip_corrupt: bool = False,
    num_workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    device: str | None = None,
    precision: Precision = "float32",
    batch_size: int = 16,
    train: TrainConfig | None = None,
    sampler: SamplerConfig | None = None,
) -> None:
    """Encodes videos and instructions once, into a cache. Run again, it goes on where it stopped.

    Args:
        data: a data set in any format of docs/data.md, or the URL of a folder with a
            manifest.jsonl.
        out: folder of the cache, or its URL.
        model: the recipe's; frames and conditions are encoded as it says.
        asked: which videos of the data set.
        backbone: "tabletop" or a folder.
        states: who says what the videos pass through; "replay" repeats what the manifest records.
            Others, language models among them, are in docs/states.md.
        unpack_to: where videos inside of archives or tables are written; by default the user's
            cache.
        frames: which frames of a video are taken, at which size.
        skip_corrupt: leave damaged videos out, and count them, instead of stopping at the first.
        num_workers: threads that decode, or with "ray" processes; by default one per core.
        engine: "ray" has the workers of a Ray cluster encode, of RAY_ADDRESS or of this machine.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        batch_size: frames that are encoded at once; fewer take less of the device's memory.
        train: not used; here so that one recipe serves prepare and train.
        sampler: not used; likewise.
    """
    _encode(
        data, out, model, asked, backbone, states, frames=frames or FrameConfig(),
        unpack_to=unpack_to, engine=engine, device=device, skip_corrupt=skip_corrupt,
        num_workers=num_workers, precision=precision, batch_size=batch_size,
    )  # fmt: skip


def _encode(
    data: str,
    out: str,
    model: ModelConfig,
    asked: SourceConfig,
    backbone: str | Path,
    states: str,
    *,
    frames: FrameConfig,
    unpack_to: Path | None = None,
    engine: Literal["local", "ray"] = "local",
    device: str | None = None,
    label: str = "",
    **options: Any,
) -> None:
    """Reads a data set, cuts its windows and encodes them into the cache `out`, with all ranks.

    `label` names the cache in what is printed, where a command makes several.
    """
    from aid.conditioning.states import choose_state_writer
    from aid.data.sources import read_source, with_instructions
    from aid.data.store import is_url
    from aid.data.windows import cut_windows
    from aid.models.devices import choose_device
    from aid.predict import find_backbone
    from aid.prepare import prepare as encode
    from aid.prepare import process_group, work_for_rank_0

    with process_group() as group:
        if group is not None and group.rank:
            try:
                work_for_rank_0(group)
            except ValueError:  # rank 0 has said why
                raise SystemExit(2) from None
            return
        if engine == "local":
            choose_device(device)  # refused before a data set is read, let alone a language model
        frozen = find_backbone(backbone)
        source = read_source(data, asked, unpack_to=unpack_to)
        place, rows = source.place, with_instructions(source.rows, source.notes)
        rows = cut_windows(rows or source.rows, frames, model.num_frames, source.notes)
        prefix = f"{label}: " if label else ""
        for note in source.notes:
            print(f"{prefix}note: {note}", file=sys.stderr)
        if is_url(place):
            writer = choose_state_writer(states, rows, device=device)
        else:
            writer = recorded_states(Path(place), rows, states, frames, model.num_frames, device)
        with step_bars() as on_step:
            result = encode(
                place, out, frozen, condition=model.condition, num_frames=model.num_frames,
                states=writer, rows=rows, selection=asked, frames=frames, engine=engine,
                device=device, licence=source.licence, on_step=on_step, **options,
            )  # fmt: skip
    for name in result.remade:
        print(f"{prefix}damaged, so made again: {name}", file=sys.stderr)
    for note in result.notes:
        print(f"{prefix}note: {note}", file=sys.stderr)
    for name, reason in result.skipped:
        print(f"{prefix}skipped {name}: {reason}", file=sys.stderr)
    print(f"{prefix}{result.num_videos} videos, {len(result.skipped)} skipped")
    if result.num_encoded:
        print(
            f"{prefix}{result.num_encoded} encoded in {result.seconds:.1f} s "
            f"({result.num_encoded / result.seconds:.2f} a second); the encoders waited for "
            f"decoding {result.waited_share:.0%} of their time"
        )
    print(f"{prefix}{out}")


def train(
    out: Path,
    model: ModelConfig,
    train: TrainConfig,
    sampler: SamplerConfig,
    asked: SourceConfig,
    data: str | None = None,
    cache: Path | None = None,
    held_out: Path | None = None,
    start: str | None = None,
    backbone: str | None = None,
    frames: FrameConfig | None = None,
    states: str = "replay",
    skip_corrupt: bool = False,
    tuning: Tuning = "aid",
    accept: list[str] | None = None,
    device: str | None = None,
    precision: Precision = "float32",
    said: frozenset[str] = frozenset(),
) -> None:
    """Trains AID on a data set or a cache. Run again, it goes on where it stopped, exactly.

    Args:
        out: folder of the run: checkpoint, log, sheets.
        model: shape of the trained part; left at its defaults, that of `start`.
        train: the training loop.
        sampler: how sheets are drawn, and the checkpoint's defaults; likewise.
        asked: which videos of `data`.
        data: a data set in any format of docs/data.md, which is encoded into a cache first, in
            float32 whatever the run's precision, because it is kept.
        cache: a folder that `aid prepare` wrote; with `data` where to write one, by default
            OUT_cache.
        held_out: a cache of unseen videos, for checks while training; with `data` and `hold_out`
            it is made.
        start: "tabletop", a checkpoint or the folder of a run, whose weights the run starts from.
        backbone: "tabletop" or a folder; the one the cache was made with. By default that of
            `start`, or "tabletop".
        frames: which frames of the videos of `data`, at which size; chosen from data and backbone
            where it says nothing.
        states: as for `aid prepare`, with `data`.
        skip_corrupt: likewise.
        tuning: how the backbone is adapted: as `model` says, or by LoRA, its cross-attention, its
            temporal layers or all its weights instead.
        accept: facts in which the run may differ from the state that it goes on from, by name;
            "backbone" also lets `start` come from another backbone of the same sizes.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        said: names of the settings that flags and recipes give.
    """
    from aid.optim import usable_device
    from aid.predict import find_backbone, find_model
    from aid.train import model_of
    from aid.train import train as learn

    usable_device(device, precision)  # refuses one before a backbone is fetched
    if data is None and cache is None:
        raise ValueError("there is nothing to train on. Give a data set (--data) or a --cache.")
    if data is None and (asked != SourceConfig() or states != "replay" or skip_corrupt):
        raise ValueError(
            "which videos are read was settled when the cache was made; split, camera, hold_out, "
            "states and the like go with --data."
        )
    if asked.split == HELD_OUT:
        raise ValueError(
            f"--split {HELD_OUT} would train on the episodes that are kept out. Leave --split out."
        )
    checkpoint, frozen = None, find_backbone(backbone or "tabletop")
    if start is not None:
        checkpoint, frozen = find_model(start, backbone)
    settings = tuned(model, tuning)
    if settings == ModelConfig() and checkpoint is not None:
        settings = model_of(checkpoint)
    if data is None:
        _check_frames(cache, frames or FrameConfig(), settings.num_frames, said)
    else:
        place = cache or out.with_name(f"{out.name}_cache")
        frames = _suited(data, asked, frames or FrameConfig(), settings, checkpoint, frozen, said)
        wanted = {asked.split or TRAIN: asked}
        if asked.hold_out and held_out is None:
            wanted[HELD_OUT] = replace(asked, split=HELD_OUT)
            held_out = place / HELD_OUT
        cache = place / (asked.split or TRAIN)
        for name, part in wanted.items():
            _encode(
                data, str(place / name), settings, part, frozen, states, frames=frames,
                skip_corrupt=skip_corrupt, device=device, label=f"cache {name!r}",
            )  # fmt: skip
    print(
        learn(
            cache, out, frozen, model=settings, train=train,
            sampler=None if sampler == SamplerConfig() else sampler, held_out=held_out,
            start=checkpoint, accept=accept or (), device=device, precision=precision,
        )
    )  # fmt: skip


def _check_frames(cache: Path, frames: FrameConfig, num_frames: int, given: frozenset[str]) -> None:
    """Refuses settings of frames that differ from those of a finished cache.

    Raises:
        ValueError: a flag or recipe asks for other frames than the cache has.
    """
    from aid.data.cache import read_settings

    settings = read_settings(cache)
    fingerprint = settings["fingerprint"]
    made = settings["frames"] | {name: fingerprint[name] for name in ("height", "width")}
    has_same_rate = frames.rate(num_frames) == fingerprint.get("frames.fps")
    for name, value in asdict(frames).items():
        is_same = has_same_rate if name in ("fps", "seconds") else value == made[name]
        if f"frames.{name}" in given and not is_same:
            raise ValueError(
                f"frames.{name} = {value!r} has no effect: cache {str(cache)!r} was made with "
                f"{made[name]!r}. Leave it out, or make another cache with aid prepare."
            )


PAPER_SIDE = 256
"""Pixels; the paper's size, used if a backbone was made for more."""


def _suited(
    data: str, asked: SourceConfig, frames: FrameConfig, model: ModelConfig,
    checkpoint: Path | None, backbone: Path, said: frozenset[str],
) -> FrameConfig:  # fmt: skip
    """Size and time of the frames, chosen where `frames` says nothing, and printed."""
    from aid.data.sources import read_source
    from aid.data.windows import suited_frames
    from aid.models.checkpoint import read_info
    from aid.models.sizes import usual_size

    if checkpoint is not None:
        info = read_info(checkpoint)
        height, width = info.height, info.width
    else:
        height, width = (min(side, PAPER_SIDE) for side in usual_size(backbone))
    frames = replace(frames, height=frames.height or height, width=frames.width or width)
    if not said & {"frames.windows", "frames.sampling"}:  # whole episodes may be what is wanted
        rows = read_source(data, asked).rows
        frames = suited_frames(rows, frames, model.num_frames)
    rate = frames.rate(model.num_frames)
    time = "whole episodes, evenly"
    if rate is not None:
        seconds = model.num_frames / rate
        time = f"windows of {seconds:g} s at {rate:g} a second, {frames.windows} of an episode"
    if os.environ.get("RANK", "0") == "0":
        print(
            f"frames: {model.num_frames} of {frames.width} x {frames.height} pixels, {time} "
            "(--frames.height, --frames.width, --frames.fps, --frames.windows)",
            file=sys.stderr,
        )
    return frames


def report(run: Path, out: Path | None = None) -> None:
    """Shows a training run as one HTML page: curves, sheets, settings.

    Args:
        run: folder of the run, also while it is going on.
        out: the page; by default report.html in that folder.
    """
    from aid.optim.report import write_report

    print(write_report(run, out))
