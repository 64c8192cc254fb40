"""`aid prepare` and `aid train`.

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

import os
import sys
from dataclasses import asdict, replace
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


def prepare(
    data: str,
    out: str,
    model: ModelConfig,
    selection: SourceConfig,
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
) -> None:
    """Encodes videos and instructions into a cache. Run again, it resumes where it stopped.

    Args:
        data: a data set in any format of docs/data.md, or the URL of a folder with a
            manifest.jsonl.
        out: folder of the cache, or its URL.
        model: the recipe's; frames and conditions are encoded as it says.
        selection: which videos of the data set.
        backbone: "tabletop" or a folder.
        states: who writes the states of the videos; "replay" takes those of the manifest. The
            others, language models among them, are in docs/states.md.
        unpack_to: where videos inside of archives or tables are written; by default the user's
            cache.
        frames: which frames of a video are taken, at which size.
        skip_corrupt: leave damaged videos out, and count them, instead of stopping at the first.
        num_workers: threads that decode, or with "ray" processes; by default one per core.
        engine: "ray" has the workers of a Ray cluster encode, of RAY_ADDRESS or of this machine.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        batch_size: frames that are encoded at once; fewer take less of the device's memory.
    """
    _encode(
        data, out, model, selection, backbone, states, frames=frames or FrameConfig(),
        unpack_to=unpack_to, engine=engine, device=device, skip_corrupt=skip_corrupt,
        num_workers=num_workers, precision=precision, batch_size=batch_size,
    )  # fmt: skip


def _encode(
    data: str,
    out: str,
    model: ModelConfig,
    selection: SourceConfig,
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
            except ValueError:  # rank 0 has printed why
                raise SystemExit(2) from None
            return
        if engine == "local":
            choose_device(device)  # refused before a data set is read, let alone a language model
        frozen = find_backbone(backbone)
        source = read_source(data, selection, unpack_to=unpack_to)
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
                states=writer, rows=rows, selection=selection, frames=frames, engine=engine,
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
    model: ModelConfig,
    train: TrainConfig,
    sampler: SamplerConfig,
    selection: SourceConfig,
    out: Path = Path("run"),
    data: str | None = None,
    cache: Path | None = None,
    held_out: Path | None = None,
    start: str | None = None,
    backbone: str | None = None,
    frames: FrameConfig | None = None,
    states: str = "replay",
    skip_corrupt: bool = False,
    tuning: Tuning = "aid",
    method: str | None = None,
    flops: float | None = None,
    accept: list[str] | None = None,
    dry_run: bool = False,
    memory: float | None = None,
    device: str | None = None,
    precision: Precision = "float32",
    given: frozenset[str] = frozenset(),
) -> None:
    """Trains AID on a data set or a cache. Run again, it resumes exactly where it stopped.

    Args:
        model: shape of the trained part; left at its defaults, that of `start`.
        train: the training loop.
        sampler: how sheets are drawn, and the checkpoint's defaults; likewise.
        selection: which videos of `data`.
        out: folder of the run: checkpoint, log, report, sheets.
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
        method: trains another method than AID (docs/evaluation.md, "Comparing methods"): simvp,
            pvdm, videofusion, tune_a_video, seer, or a class of your own, package.module:Class or
            file.py:Class.
        flops: with `method`, the floating-point operations that it may take, instead of steps.
        accept: facts in which the run may differ from the state that it goes on from, by name;
            "backbone" also lets `start` come from another backbone of the same sizes.
        dry_run: only say what the run will take: parameters, memory, cache, steps. Nothing is
            written; without data or cache it counts with 10,000 videos.
        memory: with `dry_run`, of the GPU that is meant, in GB; by default this machine's device.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        given: names of the settings that flags and recipes give.
    """
    if memory is not None and not dry_run:
        raise ValueError(f"--memory {memory:g} is only for --dry_run. Leave it out, or add that.")
    if dry_run:
        _forecast(
            model=tuned(model, tuning), train=train, selection=selection, data=data, cache=cache,
            start=start, backbone=backbone, frames=frames or FrameConfig(), memory=memory,
            device=device, precision=precision,
        )  # fmt: skip
        return
    from aid.optim import usable_device
    from aid.predict import find_backbone, find_model
    from aid.train import model_of
    from aid.train import train as learn

    usable_device(device, precision)  # refuses one before a backbone is fetched
    if method is not None:
        _check_method(method, start, tuning, accept, train)
        if flops is not None and not flops >= 1:
            raise ValueError(
                f"--flops must be at least 1, got {flops:g}. Leave it out, or try 1e12"
            )
    elif flops is not None:
        raise ValueError("--flops is for --method. Give AID a number of steps: --train.steps")
    if data is None and cache is None:
        raise ValueError("there is nothing to train on. Give a data set (--data) or a --cache.")
    if data is None and (selection != SourceConfig() or states != "replay" or skip_corrupt):
        raise ValueError(
            "--split, --camera, --hold_out, --states and the like select videos of --data; a "
            "finished cache has its videos already. Leave them out, or give --data."
        )
    if selection.split == HELD_OUT:
        raise ValueError(
            f"--split {HELD_OUT} would train on the episodes that are kept out. Leave --split out."
        )
    if held_out is not None and not held_out.is_dir():
        raise ValueError(
            f"--held_out {str(held_out)!r} is not the folder of a cache. To keep a share of the "
            "episodes of --data out of training, give --hold_out 0.15."
        )
    checkpoint, frozen = None, find_backbone(backbone or "tabletop")
    if start is not None:
        checkpoint, frozen = find_model(start, backbone)
    settings = tuned(model, tuning)
    if settings == ModelConfig() and checkpoint is not None:
        settings = model_of(checkpoint)
    if data is None:
        _check_frames(cache, frames or FrameConfig(), settings.num_frames, given)
    else:
        place = cache or out.with_name(f"{out.name}_cache")
        frames = _suited(
            data, selection, frames or FrameConfig(), settings, checkpoint, frozen, given
        )
        wanted = {selection.split or TRAIN: selection}
        if selection.hold_out and held_out is None:
            wanted[HELD_OUT] = replace(selection, split=HELD_OUT)
            held_out = place / HELD_OUT
        cache = place / (selection.split or TRAIN)
        for name, part in wanted.items():
            _encode(
                data, str(place / name), settings, part, frozen, states, frames=frames,
                skip_corrupt=skip_corrupt, device=device, label=f"cache {name!r}",
            )  # fmt: skip
    if method is not None:
        print(_learn_method(method, cache, out, data, train=train, flops=flops, device=device,
                            precision=precision))  # fmt: skip
        return
    print(
        learn(
            cache, out, frozen, model=settings, train=train,
            sampler=None if sampler == SamplerConfig() else sampler, held_out=held_out,
            start=checkpoint, accept=accept or (), device=device, precision=precision,
        )
    )  # fmt: skip


def _check_method(
    method: str, start: str | None, tuning: str, accept: list[str] | None, train: TrainConfig
) -> None:
    """Refuses settings that another method does not have, and a name that is none."""
    from aid.ablate.methods import find_method

    wrong = {"--start": start, "--tuning": tuning != "aid", "--accept": accept}
    if named := next((name for name, is_given in wrong.items() if is_given), None):
        raise ValueError(f"{named} is of AID and means nothing to --method. Leave it out.")
    if train.frame_stride != 1:
        raise ValueError(
            "train.frame_stride is of AID. Prepare a cache with fewer frames instead: "
            "--model.num_frames"
        )
    find_method(method)


def _learn_method(method: str, cache: Path, out: Path, data: str | None, **settings: Any) -> Path:
    """Trains another method; decodes the pixels first, if it reads them and there is a data set."""
    from aid.ablate.learning import train_method
    from aid.ablate.methods import find_method
    from aid.ablate.training_videos import decode_pixels
    from aid.data.cache import Cache

    if data is not None and find_method(method).space == "pixels":
        with step_bars() as on_step:
            decode_pixels(Cache(cache), data, on_step)
    return train_method(method, cache, out, **settings)


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


ASSUMED_VIDEOS, ASSUMED_SENTENCES = 10_000, 1_000


def _forecast(
    *, model: ModelConfig, train: TrainConfig, selection: SourceConfig, data: str | None,
    cache: Path | None, start: str | None, backbone: str | None, frames: FrameConfig,
    memory: float | None, device: str | None, precision: Precision,
) -> None:  # fmt: skip
    """Prints what `aid train` would take with the same arguments."""
    from aid.cli.checking import print_forecast
    from aid.data.cache import Cache
    from aid.data.sources import read_source
    from aid.data.windows import cut_windows, suited_frames
    from aid.models.devices import choose_device
    from aid.predict import find_model
    from aid.train import model_of

    if memory is None:
        device = str(choose_device(device))
    frozen = backbone or "tabletop"
    if start is not None:
        checkpoint, frozen = find_model(start, backbone)
        model = model_of(checkpoint) if model == ModelConfig() else model
    height, width = frames.height, frames.width
    num_videos, num_sentences = ASSUMED_VIDEOS, ASSUMED_SENTENCES
    if data is not None:
        rows = read_source(data, selection).rows
        rows = cut_windows(rows, suited_frames(rows, frames, model.num_frames), model.num_frames)
        num_videos = len(rows)
        texts = [[row.instruction, *row.wordings, *(s.text for s in row.states)] for row in rows]
        num_sentences = len({text for of_row in texts for text in of_row})
    elif cache is not None:
        made = Cache(cache)
        num_videos = len(made)
        height, width = (made.settings["fingerprint"][side] for side in ("height", "width"))
        num_sentences = len({text for row in made.wordings() for text in row})
    print_forecast(
        model, train, backbone=frozen, height=height, width=width, num_videos=num_videos,
        num_sentences=num_sentences, memory=memory, device=device, precision=precision,
    )  # fmt: skip


PAPER_SIDE = 256
"""Pixels; the paper's size, used if a backbone was made for more."""


def _suited(
    data: str, selection: SourceConfig, frames: FrameConfig, model: ModelConfig,
    checkpoint: Path | None, backbone: Path, given: frozenset[str],
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
    if not given & {"frames.windows", "frames.sampling"}:  # whole episodes may be what is wanted
        rows = read_source(data, selection).rows
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
