"""`aid ablate`: the paper's ablations, trained and scored alike."""

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
    split: Literal["val", "test", "forks", "combos"] = "val",
    rows: list[str] | None = None,
    steps: int = 1000,
    train_videos: int | None = None,
    limit: int = 100,
    num_steps: int | None = None,
    seeds: int = 2,
    jobs: int = 1,
    weights: Path | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains and scores the paper's eleven ablations. Run again, it resumes.

    Args:
        data: a table-top data set with the splits train and the one that is scored.
        out: folder of cache, runs and tables.
        backbone: "tabletop" or a folder.
        recipe: what all rows share.
        recipes: folder of the recipes that say what differs.
        split: the videos that are predicted.
        rows: only these, by the names of their recipes, such as adapters_full.
        steps: optimizer steps of every run.
        train_videos: videos to learn from; all of them by default.
        limit: videos that are predicted and scored.
        num_steps: sampling steps of a prediction; the recipe's by default.
        seeds: runs of each row.
        jobs: runs at once.
        weights: folder of the feature extractor; the shipped one by default.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.ablate import ablate as carry_out
    from aid.ablate.run import Budget

    budget = Budget(
        steps=steps, train_videos=train_videos, limit=limit, sampling_steps=num_steps,
        precision=precision,
    )  # fmt: skip
    with step_bars() as tell:
        written = carry_out(
            data, out, backbone, recipe, recipes, budget=budget, split=split, rows=rows,
            seeds=seeds, jobs=jobs, extractor=weights, on_run=partial(tell, "runs"), device=device,
        )  # fmt: skip
    for path in written:
        print(path)
