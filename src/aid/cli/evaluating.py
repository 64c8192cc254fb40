"""The command that predicts and scores a split of any data set.

Imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

import json
import os
import sys
from collections.abc import Set
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aid.cli.memory import keep_freed_memory
from aid.cli.states import ask_about
from aid.cli.terminal import check_folder, check_sampling, step_bars
from aid.config import FrameConfig, Precision, SamplerConfig, SourceConfig, to_json
from aid.config.bounds import require_seed
from aid.config.data import HELD_OUT, TRAIN

if TYPE_CHECKING:
    import numpy as np
    import torch

    from aid.ablate.drawing import MethodPredictor
    from aid.data.sources import Source
    from aid.evaluate import FrameSettings
    from aid.models.backbone import Backbone
    from aid.models.checkpoint import CheckpointInfo
    from aid.predict import Predictor
    from aid.types import VideoRow

RECORDED = "replay"
KNOWS_TOO_MUCH = (
    "--states_from {} tells the model what happens in the videos that it is to predict. Use "
    "tabletop-rules, none or a language model."
)
TIMES = ("sampling", "fps", "seconds", "windows", "stride_seconds")
"""Settings of `FrameConfig` that only together say which frames are taken."""
MOST_FOR_MEAN = 100
"""Training videos whose mean is the baseline "mean video"."""


def evaluate(
    data: str,
    out: Path,
    selection: SourceConfig,
    given: frozenset[str] = frozenset(),
    predictor: Literal["model", "backbone", "none"] = "model",
    model: str = "tabletop",
    method: str | None = None,
    backbone: str | None = None,
    shuffled: bool | None = None,
    empty: bool | None = None,
    with_backbone: bool = False,
    num_videos: int | None = None,
    frames: FrameConfig | None = None,
    num_steps: int | None = None,
    image_guidance: float | None = None,
    text_guidance: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    static_threshold: float | None = None,
    states_from: str | None = None,
    understand: bool = True,
    seed: int = 0,
    batch_size: int = 8,
    protocol: Literal["strict", "seer-legacy"] = "strict",
    extractor: str | None = None,
    weights: Path | None = None,
    lpips: Path | None = None,
    device: str | None = None,
    precision: Precision = "float32",
    offload: bool = False,
) -> None:
    """Predicts a split and scores the videos next to real and trivial ones. Run again, it resumes.

    Under torchrun or accelerate launch the processes share the rows.

    Args:
        data: a data set in any format of docs/data.md, or the URL of a folder with a
            manifest.jsonl.
        out: folder of the score card and the predictions; made if only its parent exists.
        selection: which of its videos; by default as the checkpoint was trained.
        given: names of the settings that the user gave; they hold even at their default values.
        predictor: the model, its bare backbone (which reads no instruction), or none.
        model: as for `aid predict`, or the folder of a training run. Without the predictor "model",
            its rows, frames and size are taken all the same, so that the cards can be compared.
        method: the run `model` is one of this other method, named as for `aid train`.
        backbone: as for `aid predict`.
        shuffled: also predict with another instruction: that of a row with the same first frame
            if there is one, else that of another row.
        empty: also predict without an instruction. If neither flag is given, both are done for data
            whose outcome no judge can read.
        with_backbone: also score the model's bare backbone, which reads no instruction.
        num_videos: only so many videos or windows, evenly from the whole split, counted after
            windows are cut; --limit takes the first videos, before.
        frames: which frames of a video, at which rate; by default as the checkpoint was trained.
        num_steps: sampling steps; by default the checkpoint's.
        image_guidance: s_V, the guidance scale of the frame.
        text_guidance: s_T, the guidance scale of the text.
        guidance_interval: as for `aid predict`.
        static_threshold: as for `aid predict`.
        states_from: as for `aid predict`; replay uses the states recorded with the rows, if they
            were written from the first frame or the words alone.
        understand: as for `aid predict`; what is not understood is handed over as it is, and the
            card says how often.
        seed: seed of the first video; each further video adds 1.
        batch_size: videos drawn at once; a seed gives the same video in any batch.
        protocol: as for `aid score`.
        extractor: as for `aid score`; none leaves the distances out. By default the one that
            --weights are of, tabletop-r3d where all rows are the table-top's, else clip-frames: the
            image encoder of the model's backbone.
        weights: as for `aid score`.
        lpips: as for `aid score`.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        offload: as for `aid predict`.
    """
    check_folder(out if out.exists() else out.parent)
    if states_from is not None:
        _check_states(states_from, predictor, data)
    guidance = {
        "--image_guidance": image_guidance, "--text_guidance": text_guidance,
        "--guidance_interval": guidance_interval, "--static_threshold": static_threshold,
    }  # fmt: skip
    if method is not None:
        _check_method(predictor, with_backbone, states_from, guidance, offload, given)
    require_seed(seed)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    check_sampling(
        num_steps=num_steps, image_guidance=image_guidance, text_guidance=text_guidance,
        guidance_interval=guidance_interval, static_threshold=static_threshold,
    )  # fmt: skip
    keep_freed_memory(device)
    from aid.cli.extracting import extractor_for
    from aid.data.windows import cut_windows
    from aid.evaluate import Ranks, can_shuffle, check_modes
    from aid.evaluate import evaluate as score
    from aid.evaluate.speed import SPEED, Timed
    from aid.metrics.lpips import load_lpips
    from aid.metrics.protocol import choose_protocol
    from aid.models.checkpoint import read_info
    from aid.models.devices import choose_device
    from aid.predict import find_checkpoint, find_model
    from aid.worlds import world_of

    ranks = Ranks.from_launcher()
    chosen_device = str(choose_device(device))
    trained, info, drawer = None, None, None
    if method is not None:
        info, drawer = _load_method(
            method, Path(model), backbone, chosen_device, precision, num_steps
        )
    elif "model" in given:
        trained = read_info(find_checkpoint(model))
    if predictor == "model" and method is None:
        info = trained or read_info(find_checkpoint(model))
        if states_from is not None and not info.model.dqformer.reads_states:
            raise ValueError(f"{model!r} reads no states. Leave --states_from {states_from} out.")
        if states_from is None:
            _check_default_writer(model, info)
    selection, frames, taken = _as_trained(
        selection, frames or FrameConfig(), info or trained, given
    )
    source = _read(data, selection, taken)
    rows, notes = source.rows, list(source.notes)
    reads_text = info is not None and info.model.dqformer.branches != "none"
    reads_words = trained is not None and trained.model.dqformer.branches != "none"
    if reads_text or (
        (reads_words or method is not None) and any(row.instruction.strip() for row in rows)
    ):
        rows = _with_words(rows, notes)  # without the model, too, so that cards have the same rows
    bare = find_model(model, backbone)[1] if predictor == "backbone" else None
    settings = _settings(rows[0], frames, info or trained, bare)
    rows = cut_windows(rows, frames, settings.frames.num_frames, notes)
    if selection.split is None and len(splits := sorted({row.split for row in rows})) > 1:
        names = ", ".join(repr(name) for name in splits)
        notes.append(
            f"No split was named, so the videos of all splits are evaluated: {names}. Videos that "
            "the model was trained on may be among them."
        )
    rows = _evenly(_long_enough(rows, settings.num_given, notes), num_videos)
    if states_from == RECORDED:
        _check_recorded(rows)
    world = world_of(row.world for row in rows)
    judge = world.judge() if world is not None and world.judge is not None else None
    judged = [row for row in rows if judge is not None and judge.can_judge(row)]
    perceptual = load_lpips(lpips) if lpips else None
    training = _training_rows(data, selection, settings, notes)
    modes = ["true", *["shuffled"] * bool(shuffled), *["empty"] * bool(empty)]
    check_modes(rows, modes, training)
    if shuffled is None and empty is None and reads_text and not judged:
        if can_shuffle(rows, training):
            modes.append("shuffled")
        else:
            notes.append("No other instruction was told: all rows say the same.")
        modes.append("empty")
    has_backbone = predictor != "none" or backbone is not None
    frozen = None
    if has_backbone:
        frozen = find_model(model, backbone)[1] if drawer is None else drawer.backbone.folder
    seen_by = extractor_for(
        extractor, weights, world=world, device=chosen_device, backbone=frozen, precision=precision,
    )  # fmt: skip
    if ranks.is_first:
        for line in settings.describe(source.place, selection, len(rows)):
            print(line)
        if taken:
            print(f"as trained       {', '.join(taken)}")
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    timed, textless, title, made_with = None, None, "no model", {"precision": precision}
    autoencode = loaded = None
    speed = out / SPEED if ranks.is_first else None
    if drawer is not None:
        timed = Timed(drawer, drawer.networks, speed)
        autoencode = partial(_autoencode, drawer.backbone, drawer.device)
        made_with |= {"method": method, "num_steps": num_steps}
        made_with |= {key: drawer.facts[key] for key in ("code", "seed", "stages", "backbone")}
        title = drawer.facts["title"]
    elif predictor != "none":
        make = partial(
            _predictor, model=model, backbone=backbone, device=chosen_device, data=source.folder,
            rows=rows, states_from=states_from, settings=settings, precision=precision,
            offload=offload, understand=understand,
        )  # fmt: skip
        loaded = make(predictor)
        sampler = loaded.sampler_with(
            num_steps, image_guidance, text_guidance, guidance_interval, static_threshold
        )
        if ranks.is_first:
            print(loaded.describe(sampler))
        timed = Timed(
            _Drawn(loaded, sampler, batch_size), [loaded.denoiser.unet], speed, batch_size
        )
        autoencode = partial(_autoencode, loaded.backbone, loaded.denoiser.device)
        made_with |= _identity(loaded, frozen)
        made_with["sampler"] = to_json(sampler)
        title = model if predictor == "model" else f"bare backbone {loaded.backbone.name}"
        if states_from is not None:
            made_with["states"] = states_from
            title += f", states by {states_from}"
        if loaded.understands:
            made_with["understand"] = True
        if with_backbone:
            textless = Timed(_Drawn(make("backbone"), sampler, batch_size))
    mean = None
    if ranks.is_first:
        mean = _mean_of_training(source.place, training, settings, notes)
    name = Path(data).name or data
    title = f"{title} on {name}" + (f", split {selection.split}" if selection.split else "")
    with step_bars() as on_read:
        card = score(
            rows, source.place, timed, out=out, frames=settings.frames, textless=textless,
            autoencode=autoencode, judge=judge if judged else None, modes=modes, mean=mean,
            understand=loaded.understand if loaded is not None and loaded.understands else None,
            more=training,
            seed=seed, batch_size=batch_size, made_with=made_with, title=title,
            protocol=choose_protocol(protocol, settings.frames.num_frames, settings.num_given),
            extractor=seen_by, perceptual=perceptual, notes=notes, ranks=ranks,
            with_states=states_from == RECORDED,
            on_video=partial(on_read, "videos"), on_read=on_read,
        )  # fmt: skip
    if card is None:
        return
    print(card.to_markdown())
    for name, one in {"the model": timed, "the bare backbone": textless}.items():
        if one is not None and one.num_videos:
            print(f"{one.seconds / one.num_videos:.2f} s per video of {name}, {one.num_videos} new")
    print(out / "sheet.png")
    print(out / "report.json")
    if predictor == "model" and method is None:
        update_model_card(find_checkpoint(model), out)


def update_model_card(checkpoint: Path, out: Path) -> None:
    """Writes the figures of the score card `out` into the checkpoint's model card.

    The cards that lie beside the checkpoint are listed together. An installed world's model and a
    folder that cannot be written keep the card that they have.
    """
    from aid.models.checkpoint import write_card
    from aid.predict.figures import figures_of
    from aid.worlds import installed_worlds

    shipped = [w.model.resolve() for w in installed_worlds().values() if w.model is not None]
    if checkpoint.resolve().parent in shipped or not os.access(checkpoint, os.W_OK):
        return
    beside = out.resolve().parent == checkpoint.resolve().parent
    print(write_card(checkpoint, figures_of(checkpoint, None if beside else out)))


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """Which frames a model is given and predicts."""

    frames: "FrameSettings"
    num_given: int

    def describe(self, place: str, selection: SourceConfig, number: int) -> list[str]:
        """What is evaluated, a line each."""
        named = {
            "split": selection.split, "camera": selection.camera, "format": selection.format,
            "hold_out": selection.hold_out or None,
        }  # fmt: skip
        chosen = ", ".join(f"{name} {value}" for name, value in named.items() if value is not None)
        one, rate = self.frames, self.frames.frames.rate(self.frames.num_frames)
        how = "evenly over each video" if rate is None else f"at {rate:g} a second"
        return [
            f"data             {place}{', ' * bool(chosen)}{chosen}: {number} videos",
            f"frames           {one.num_frames} of {one.width}x{one.height} {how}, "
            f"{self.num_given} given",
        ]


def _settings(
    first: "VideoRow", frames: FrameConfig, info: "CheckpointInfo | None", backbone: Path | None
) -> _Settings:
    """The checkpoint's frames; without one what the backbone was made for; else the first video's.

    A backbone predicts no more frames than the first video has.
    """
    from aid.evaluate import FrameSettings
    from aid.models.sizes import usual_size

    num_given = 1
    if info is not None:
        num_frames, height, width = info.model.num_frames, info.height, info.width
        num_given = info.model.condition.num_given_frames
    elif backbone is not None:
        height, width = usual_size(backbone)
        unet = json.loads((backbone / "unet" / "config.json").read_text("utf-8"))
        num_frames = min(unet["num_frames"], first.num_frames or unet["num_frames"])
    else:
        num_frames, height, width = first.num_frames, first.height, first.width
    height, width = frames.height or height, frames.width or width
    if not (num_frames and height and width):
        raise ValueError(
            f"the number of frames and the size of {first.id!r} are unknown. Evaluate a model "
            "(--predictor model), which sets them."
        )
    return _Settings(
        frames=FrameSettings(frames=frames, num_frames=num_frames, height=height, width=width),
        num_given=num_given,
    )


def _as_trained(
    selection: SourceConfig,
    frames: FrameConfig,
    info: "CheckpointInfo | None",
    given: frozenset[str] = frozenset(),
) -> tuple[SourceConfig, FrameConfig, list[str]]:
    """The user's settings; where the user gave none, those that the checkpoint was trained with.

    With held-out episodes the split is "held_out" unless the user names another one. Also returns
    what was taken from the checkpoint, in words.
    """
    trained = {} if info is None else dict(info.source)
    for name in ("split", "limit"):
        trained.pop(name, None)
    if selection.hold_out or "hold_out" in given or selection.split not in (None, TRAIN, HELD_OUT):
        trained.pop("hold_out", None)
        trained.pop("hold_out_seed", None)
    selection, taken = _filled(selection, trained, given)
    if selection.hold_out and selection.split is None:
        selection = replace(selection, split=HELD_OUT)
    of_frames = {} if info is None else dict(info.frames)
    given = {name.removeprefix("frames.") for name in given if name.startswith("frames.")}
    given |= {name for name in TIMES if getattr(frames, name) != getattr(FrameConfig(), name)}
    if given & set(TIMES):
        of_frames = {name: value for name, value in of_frames.items() if name not in TIMES}
    frames, more = _filled(frames, of_frames, given)
    return selection, frames, [*taken, *(f"frames.{words}" for words in more)]


def _filled(config: Any, trained: dict[str, Any], given: Set[str]) -> tuple[Any, list[str]]:
    """A config whose settings at their defaults are taken from `trained`, and which ones were.

    Those that the user gave stay as they are.
    """
    defaults = type(config)()
    taken = {
        one.name: trained[one.name]
        for one in fields(config)
        if one.name in trained.keys() - given
        and getattr(config, one.name) == getattr(defaults, one.name)
        and trained[one.name] != getattr(defaults, one.name)
    }
    words = [f"{name} {value}" for name, value in taken.items()]
    try:
        return replace(config, **taken), words
    except TypeError:
        raise ValueError(
            f"the checkpoint's own data settings are damaged: {', '.join(words)}. Copy it again."
        ) from None


def _read(data: str, selection: SourceConfig, taken: list[str]) -> "Source":
    """The data set."""
    from aid.data.sources import read_source

    try:
        return read_source(data, selection)
    except ValueError as error:
        if not taken:
            raise
        raise ValueError(
            f"{error} (As the checkpoint was trained: {', '.join(taken)}; flags of the same names "
            "say otherwise.)"
        ) from None


def _with_words(rows: list["VideoRow"], notes: list[str]) -> list["VideoRow"]:
    """The rows that have an instruction."""
    from aid.data.sources import with_instructions

    having = with_instructions(rows, notes)
    if not having:
        raise ValueError(
            f"none of the {len(rows)} videos has an instruction, and the model reads one. Give a "
            "data set with words (docs/data.md says where they are looked for), or evaluate the "
            "backbone alone: --predictor backbone"
        )
    return having


def _long_enough(rows: list["VideoRow"], num_given: int, notes: list[str]) -> list["VideoRow"]:
    """The rows that have more frames than are given, as far as that is known."""
    short = [row for row in rows if 0 < row.num_frames <= num_given]
    if len(short) == len(rows):
        raise ValueError(
            f"none of the {len(rows)} videos has more than {max(r.num_frames for r in rows)} "
            f"frame{'s' * (num_given > 1)}, and the model is given {num_given}: nothing is left to "
            "predict. Give longer videos."
        )
    if short:
        notes.append(
            f"{len(short)} of {len(rows)} videos have no more frames than the model is given "
            f"({num_given}) and are left out, the first is {short[0].id!r}."
        )
    return [row for row in rows if not 0 < row.num_frames <= num_given]


def _evenly(rows: list["VideoRow"], number: int | None) -> list["VideoRow"]:
    """So many of the rows, evenly from the first to the last."""
    if number is None or number >= len(rows):
        return rows
    if number < 1:
        raise ValueError(f"num_videos must be at least 1, got {number}.")
    return [rows[i * len(rows) // number] for i in range(number)]


def _training_rows(
    data: str, selection: SourceConfig, settings: _Settings, notes: list[str]
) -> list["VideoRow"]:
    """Some windows of the split "train"; none where that is what is evaluated, or is not there.

    Why it cannot be read is added to `notes`.
    """
    from aid.data.sources import read_source
    from aid.data.windows import cut_windows

    if selection.split in (None, TRAIN):
        return []
    try:
        source = read_source(data, replace(selection, split=TRAIN, limit=MOST_FOR_MEAN))
    except ValueError as error:
        notes.append(f"The split {TRAIN!r} is not used: {error}")
        return []
    if not source.rows:
        notes.append(f"The split {TRAIN!r} is not used: {' '.join(source.notes) or 'it is empty'}")
    rows = cut_windows(source.rows, settings.frames.frames, settings.frames.num_frames)
    return rows[:MOST_FOR_MEAN]


def _mean_of_training(
    place: str, training: list["VideoRow"], settings: _Settings, notes: list[str]
) -> Any:
    """The mean of the training videos; None without any."""
    from aid.evaluate import mean_of

    mean, number = mean_of(place, training, settings.frames) if training else (None, 0)
    if training and mean is None:
        notes.append(f"None of {len(training)} videos of the split {TRAIN!r} can be read.")
    if mean is None:
        notes.append("Mean video: for each row the mean of all other rows.")
    else:
        notes.append(f"Mean video: the mean of {number} videos of the split {TRAIN!r}.")
    return mean


def _check_states(states_from: str, predictor: str, data: str) -> None:
    from aid.conditioning.addresses import SCHEMES
    from aid.data.store import is_url

    if predictor != "model":
        raise ValueError(
            f"--states_from {states_from} has no effect: with --predictor {predictor} nothing "
            "reads states. Leave one of the two out."
        )
    if states_from.startswith("column:"):
        raise ValueError(KNOWS_TOO_MUCH.format(states_from))
    if is_url(data) and states_from.startswith(SCHEMES):
        raise ValueError(
            f"--states_from {states_from} keeps its answers beside the videos, and {data!r} is a "
            "URL. Copy the data set to this machine, or use another --states_from."
        )


def _check_default_writer(model: str, info: "CheckpointInfo") -> None:
    """Refuses a checkpoint whose states nobody writes until the user names a writer."""
    from aid.conditioning.states import UnavailableStateWriter
    from aid.predict.loading import default_state_writer

    writer = default_state_writer(info)
    if isinstance(writer, UnavailableStateWriter):
        raise ValueError(
            f"the states that {model!r} reads are {writer.name}. Give the states of these rows: "
            f"say with --states_from where they come from: {RECORDED} (recorded states of the "
            "rows), tabletop-rules, none, or a language model as in docs/states.md."
        )


def _check_recorded(rows: list["VideoRow"]) -> None:
    """Refuses recorded states that whoever wrote them could only know from the video."""
    if not any(row.states for row in rows):
        raise ValueError(
            f"--states_from {RECORDED}: no video has recorded states. Use tabletop-rules, none or "
            "a language model."
        )
    if any(row.states and row.states_see == "video" for row in rows):
        raise ValueError(KNOWS_TOO_MUCH.format(RECORDED))


def _predictor(
    kind: str, *, model: str, backbone: str | None, device: str | None, data: Path, rows: list,
    settings: _Settings, states_from: str | None, precision: Precision, offload: bool,
    understand: bool,
) -> "Predictor":  # fmt: skip
    """The model, or its bare backbone for so many frames."""
    from aid.conditioning.states import NoStateWriter
    from aid.predict import Predictor, find_model, state_writer_of
    from aid.states import FirstFrames
    from aid.states.writing import ANSWERS_FILE

    loading = {
        "device": device, "precision": precision, "offload": offload,
        "height": settings.frames.height, "width": settings.frames.width,
    }  # fmt: skip
    if kind == "model" and states_from == RECORDED:
        writer = NoStateWriter()  # each row's own are handed over
        return Predictor.from_pretrained(
            model, backbone, state_writer=writer, understand=understand, **loading
        )
    if kind == "model":
        writer = state_writer_of(model, states_from, data / ANSWERS_FILE, device)
        one = settings.frames
        ask_about(writer, data, rows, FirstFrames(frames=one.frames, num_frames=one.num_frames,
                                            height=one.height, width=one.width))  # fmt: skip
        return Predictor.from_pretrained(
            model, backbone, state_writer=writer, understand=understand, **loading
        )
    folder = backbone or find_model(model)[1]
    return Predictor.backbone_only(folder, num_frames=settings.frames.num_frames, **loading)


def _identity(predictor: "Predictor", backbone: Path) -> dict[str, str]:
    """What a prediction depends on besides the sampler: hashes of trained and frozen tensors."""
    from aid.models.backbone import backbone_hash
    from aid.models.checkpoint import trained_hash

    trained = trained_hash(predictor.denoiser.trained_state_dict())
    return {"trained": trained, "backbone": backbone_hash(backbone)}


def _autoencode(backbone: "Backbone", device: "torch.device", videos: list) -> list:
    """Videos through the backbone's autoencoder, one at a time."""
    import torch

    from aid.video import to_float, to_uint8

    made = []
    with torch.no_grad():
        for video in videos:
            frames = to_float(video)[None].to(device)
            made.append(to_uint8(backbone.decode(backbone.encode(frames))[0]))
    return made


class _Drawn:
    """A predictor as `evaluate` calls it."""

    def __init__(self, predictor: "Predictor", sampler: SamplerConfig, batch_size: int) -> None:
        self.predictor, self.sampler, self.batch_size = predictor, sampler, batch_size

    def __call__(
        self, given: list, instructions: list[str], seeds: list[int], fps: list[float],
        states: list[list[str]] | None = None,
    ) -> list:  # fmt: skip
        """A video for each row's given frames, instruction, seed, rate and states.

        A bare backbone reads one frame, so of several given ones it gets the first.
        """
        if self.predictor.num_given_frames == 1:
            given = [frames[0] if frames.ndim == 4 else frames for frames in given]
        firsts = [frames[0] if frames.ndim == 4 else frames for frames in given]
        read = [self._read(*one) for one in zip(firsts, instructions, strict=True)]
        return self.predictor.predict_many(
            given, read, seeds, fps=fps, states=states, sampler=self.sampler,
            batch_size=self.batch_size,
        )  # fmt: skip

    def _read(self, frame: "np.ndarray", instruction: str) -> str:
        """What the model reads for an instruction, which is handed over if it is not understood."""
        try:
            return self.predictor.understand(frame, instruction).instruction
        except ValueError:
            return instruction


def _check_method(
    predictor: str, with_backbone: bool, states_from: str | None,
    guidance: dict[str, Any], offload: bool, given: Set[str],
) -> None:  # fmt: skip
    """Refuses settings that another method does not have."""
    wrong = {
        "--predictor": predictor != "model", "--with_backbone": with_backbone,
        "--states_from": states_from is not None, "--offload": offload,
        **{name: value is not None for name, value in guidance.items()},
    }  # fmt: skip
    if named := next((name for name, is_wrong in wrong.items() if is_wrong), None):
        raise ValueError(f"{named} is of AID and means nothing to --method. Leave it out.")
    if "model" not in given:
        raise ValueError("--method needs the folder that aid train --method wrote: --model")


def _load_method(
    method: str, run: Path, backbone: str | None, device: str, precision: Precision,
    num_steps: int | None,
) -> tuple["CheckpointInfo", "MethodPredictor"]:  # fmt: skip
    """A trained method, and what its run states of the data, in the form of a checkpoint's."""
    from aid.ablate.drawing import MethodPredictor
    from aid.config import DQFormerConfig, ModelConfig
    from aid.models.checkpoint import CheckpointInfo
    from aid.predict import find_backbone

    folder = find_backbone(backbone or "tabletop")
    loaded = MethodPredictor(
        method, run, folder, device=device, precision=precision, num_steps=num_steps
    )
    facts = loaded.facts
    branches = "both" if facts["reads_text"] else "none"
    model = ModelConfig(
        num_frames=loaded.sizes.num_frames,
        dqformer=DQFormerConfig(branches=branches, use_states=False),
    )
    info = CheckpointInfo(
        model=model, sampler=SamplerConfig(), text_dim=loaded.sizes.text_dim, image_dim=1,
        backbone_hash=facts["backbone"], backbone_name=folder.name, state_writer="none",
        data_fingerprint=facts["manifest"], step=0, height=facts["height"], width=facts["width"],
        fps=facts["fps"], source=facts["source"], frames=facts["frames"],
    )  # fmt: skip
    return info, loaded
