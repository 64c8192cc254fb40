"""Commands of experiments: the table-top's feature extractor and the paper's ablations.

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from aid.cli.terminal import step_bars
from aid.config import LoopConfig, Precision


def extractor(
    data: Path,
    held_out: Path,
    out: Path,
    loop: LoopConfig,
    limit: int | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains the table-top's feature extractor. Run again, it goes on where it stopped.

    Args:
        data: a split of a table-top data set to learn from: train.
        held_out: another one, for its accuracy: test.
        out: folder of the extractor.
        loop: the training loop.
        limit: only the first so many videos.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.tabletop.extractor import train_extractor

    told = train_extractor(data, held_out, out, loop, limit, device, precision)
    for question, share in told.items():
        print(f"{question:<16} {100 * share:.1f} % right on {held_out.name}")
    print(out)


def ablate(
    data: Path,
    out: Path,
    backbone: str = "tabletop",
    recipe: Path = Path("configs/tabletop/aid.yaml"),
    recipes: Path = Path("configs/tabletop/ablations"),
    split: Literal["test", "forks", "combos"] = "forks",
    rows: list[str] | None = None,
    steps: int = 1000,
    train_videos: int | None = None,
    limit: int = 100,
    sampling_steps: int | None = None,
    seeds: int = 2,
    jobs: int = 1,
    weights: Path | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """The paper's eleven ablations, trained and scored alike. Run again, it goes on.

    Args:
        data: a table-top data set with the splits train and the one that is scored.
        out: folder of cache, runs and tables.
        backbone: "tabletop" or a folder.
        recipe: what all rows share.
        recipes: folder of the recipes that say what differs.
        split: the videos that are predicted.
        rows: only these, by the names of their recipes, as '["adapters_full"]'.
        steps: optimizer steps of every run.
        train_videos: videos to learn from; all of them by default.
        limit: videos that are predicted and scored.
        sampling_steps: of a prediction; the recipe's by default.
        seeds: runs of each row.
        jobs: runs at once.
        weights: folder of the feature extractor; the shipped one by default.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.ablate import ablate as carry_out
    from aid.ablate.run import Budget

    budget = Budget(
        steps=steps, train_videos=train_videos, limit=limit, sampling_steps=sampling_steps,
        precision=precision,
    )  # fmt: skip
    with step_bars() as tell:
        written = carry_out(
            data, out, backbone, recipe, recipes, budget=budget, split=split, rows=rows,
            seeds=seeds, jobs=jobs, extractor=weights, on_run=partial(tell, "runs"), device=device,
        )  # fmt: skip
    for path in written:
        print(path)
