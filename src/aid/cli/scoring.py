"""Commands that score videos and models.

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from aid.cli.memory import keep_freed_memory
from aid.cli.states import ask_about
from aid.cli.terminal import check_folder, step_bars
from aid.config import Precision, SamplerConfig, to_json


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
    guidance_interval: tuple[float, float] | None = None,
    states_from: str | None = None,
    seed: int = 0,
    batch_size: int = 8,
    protocol: Literal["strict", "seer-legacy"] = "strict",
    extractor: str = "tabletop-r3d",
    weights: Path | None = None,
    lpips: Path | None = None,
    device: str | None = None,
    precision: Precision = "float32",
    offload: bool = False,
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
        guidance_interval: as for `aid predict`.
        states_from: as for `aid predict`.
        seed: of the first video; the next ones count up.
        batch_size: videos drawn at once; a seed gives the same video in any batch.
        protocol: as for `aid score`.
        extractor: as for `aid score`; none leaves the distances out.
        weights: as for `aid score`.
        lpips: as for `aid score`.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        offload: as for `aid predict`.
    """
    check_folder(out if out.exists() else out.parent)
    if states_from is not None:
        _check_states(states_from, predictor)
    if guidance_interval is not None:
        SamplerConfig(guidance_interval=guidance_interval)  # refuses one that is upside down
    keep_freed_memory(device)
    from aid.data.manifest import read_manifest
    from aid.evaluate import evaluate as score
    from aid.metrics.extractors.choice import choose_extractor
    from aid.metrics.lpips import load_lpips
    from aid.metrics.protocol import choose_protocol
    from aid.models.devices import choose_device
    from aid.predict import find_model

    chosen = str(choose_device(device))
    rows = read_manifest(data)[:limit]
    if not rows:
        raise ValueError(
            f"no video of {str(data)!r} is left with --limit {limit}. Give at least 1."
        )
    seen_by = None if extractor == "none" else choose_extractor(extractor, weights, chosen)
    timed, textless, title, num_given = None, None, "no model", 1
    num_frames = rows[0].num_frames
    made_with: dict[str, Any] = {"precision": precision}
    if predictor != "none":
        make = partial(
            _predictor, model=model, backbone=backbone, device=chosen, data=data, rows=rows,
            states_from=states_from, precision=precision, offload=offload,
        )  # fmt: skip
        loaded = make(predictor, num_frames=num_frames)
        num_frames = loaded.denoiser.config.num_frames
        sampler = loaded.sampler_with(steps, image_guidance, text_guidance, guidance_interval)
        print(loaded.describe(sampler))
        timed = _Timed(loaded, sampler, batch_size)
        made_with |= _identity(loaded, find_model(model, backbone)[1])
        made_with["sampler"] = to_json(sampler)
        num_given = loaded.denoiser.config.condition.num_given_frames
        title = model if predictor == "model" else f"bare backbone {loaded.backbone.name}"
        if states_from is not None:
            made_with["states"] = states_from
            title += f", states by {states_from}"
        if with_backbone:
            bare = make("backbone", num_frames=num_frames)
            textless = _Timed(bare, sampler, batch_size)
    modes = ["true", *["shuffled"] * shuffled, *["empty"] * empty]
    with step_bars() as on_read:
        card = score(
            rows, data, timed, out=out, textless=textless, modes=modes, seed=seed,
            batch_size=batch_size, made_with=made_with, title=f"{title} on {data.name}",
            protocol=choose_protocol(protocol, num_frames, num_given), extractor=seen_by,
            perceptual=load_lpips(lpips) if lpips else None,
            on_video=partial(on_read, "videos"), on_read=on_read,
        )  # fmt: skip
    print(card.to_markdown())
    for name, one in {"the model": timed, "the bare backbone": textless}.items():
        if one is not None and one.num_videos:
            print(f"{one.seconds / one.num_videos:.2f} s per video of {name}, {one.num_videos} new")
    print(out / "report.json")


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


def _check_states(states_from: str, predictor: str) -> None:
    if predictor != "model":
        raise ValueError(
            f"--states_from {states_from} has no effect: with --predictor {predictor} nothing "
            "reads states. Leave one of the two out."
        )
    if states_from == "replay" or states_from.startswith("column:"):
        raise ValueError(
            f"--states_from {states_from} tells the model what happens in the videos that it is to "
            "predict. Use tabletop-rules, none or a language model."
        )


def _predictor(
    kind: str, *, model: str, backbone: str | None, device: str | None, data: Path, rows: list,
    num_frames: int, states_from: str | None, precision: Precision, offload: bool,
) -> Any:  # fmt: skip
    """The model, or its bare backbone for so many frames."""
    from aid.models.checkpoint import read_info
    from aid.predict import Predictor, find_checkpoint, find_model, state_writer_of
    from aid.states.writing import BOOK

    computing = {"device": device, "precision": precision, "offload": offload}
    if kind == "model":
        reads_states = read_info(find_checkpoint(model)).model.dqformer.reads_states
        if states_from is not None and not reads_states:
            raise ValueError(f"{model!r} reads no states. Leave --states_from {states_from} out.")
        writer = state_writer_of(model, states_from, data / BOOK)
        ask_about(writer, data, rows)
        return Predictor.from_pretrained(model, backbone, state_writer=writer, **computing)
    fps = sum(row.fps for row in rows) / len(rows)  # not each video's own, which tells its length
    folder = backbone or find_model(model)[1]
    return Predictor.backbone_only(folder, num_frames=num_frames, fps=fps, **computing)


def _identity(predictor: Any, backbone: Path) -> dict[str, str]:
    """What a prediction depends on besides the sampler: hashes of trained and frozen tensors."""
    from aid.models.backbone import backbone_hash
    from aid.models.checkpoint import trained_hash

    trained = trained_hash(predictor.denoiser.trained_state_dict())
    return {"trained": trained, "backbone": backbone_hash(backbone)}


class _Timed:
    """A predictor as `evaluate` calls it, with a clock."""

    def __init__(self, predictor: Any, sampler: Any, batch_size: int) -> None:
        self.predictor, self.sampler, self.batch_size = predictor, sampler, batch_size
        self.seconds, self.num_videos = 0.0, 0

    def __call__(self, frames: list, instructions: list[str], seeds: list[int]) -> list:
        """A video for each frame, instruction and seed."""
        start = monotonic()
        videos = self.predictor.predict_many(
            frames, instructions, seeds, sampler=self.sampler, batch_size=self.batch_size
        )
        self.seconds += monotonic() - start
        self.num_videos += len(videos)
        return videos
