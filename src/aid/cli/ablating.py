"""`aid ablate`: methods and ablations, trained and scored alike."""

from functools import partial
from pathlib import Path
from typing import Literal

from aid.cli.terminal import step_bars
from aid.config import Precision


def ablate(
    data: Path,
    out: Path,
    backbone: str = "tabletop",
    recipe: Path = Path("configs/tabletop/aid.yaml"),
    recipes: Path = Path("configs/tabletop/ablations"),
    split: str | None = None,
    hold_out: float = 0.0,
    states: str = "replay",
    table: list[Literal["main", "conditions", "adapters", "tuning"]] | None = None,
    rows: list[str] | None = None,
    steps: int = 1000,
    budget_flops: float | None = None,
    budget_like: Path | None = None,
    train_videos: int | None = None,
    limit: int = 100,
    num_frames: int | None = None,
    num_steps: int | None = None,
    seeds: int = 2,
    jobs: int = 1,
    weights: Path | None = None,
    backbone_flops: float | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains, predicts and scores other methods and AID's ablations alike. Run again, it resumes.

    Args:
        data: a folder with a data set for each split (train and the one that is scored), as the
            table-top's; or any data set, with --hold_out or --split.
        out: folder of cache, runs and tables.
        backbone: "tabletop" or a folder.
        recipe: what all rows share.
        recipes: folder of the recipes that say what differs.
        split: the videos that are predicted, a folder of `data` or a split of the data set; by
            default val, or the held-out episodes.
        hold_out: as for `aid train`.
        states: as for `aid prepare`.
        table: all rows of these tables; main has the other methods, VPP's way, AID and baselines.
            By default the paper's two ablations.
        rows: only these, such as simvp, aid or adapters_full; or a method of your own,
            package.module:Class or file.py:Class.
        steps: optimizer steps of AID and its ablations; other methods get as many operations.
        budget_flops: the floating-point operations of every row, instead of steps.
        budget_like: the recipe whose steps are counted; `recipe` by default.
        train_videos: videos to learn from; all of them by default.
        limit: videos that are predicted and scored.
        num_frames: frames of a video; the recipe's by default. Half as many halve the work.
        num_steps: sampling steps of a prediction; the recipe's and each method's own by default.
        seeds: runs of each row.
        jobs: runs at once.
        weights: folder of the feature extractor; the shipped one by default.
        backbone_flops: what the backbone's pretraining took, to print beside the costs.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.ablate import ablate as carry_out
    from aid.ablate.run import Budget

    if budget_flops is not None and budget_like is not None:
        raise ValueError("--budget_flops and --budget_like both say the budget. Give one of them.")
    budget = Budget(
        steps=steps, flops=budget_flops, like=budget_like, train_videos=train_videos, limit=limit,
        num_frames=num_frames, sampling_steps=num_steps, precision=precision,
    )  # fmt: skip
    with step_bars() as tell:
        written = carry_out(
            data, out, backbone, recipe, recipes, budget=budget, split=split, hold_out=hold_out,
            states=states, rows=rows, tables=table, seeds=seeds, jobs=jobs, extractor=weights,
            backbone_flops=backbone_flops, on_run=partial(tell, "runs"), device=device,
        )  # fmt: skip
    for path in written:
        if path.name in ("tables.md", "costs.md"):
            print(path.read_text(encoding="utf-8"))
    for path in written:
        print(path)
