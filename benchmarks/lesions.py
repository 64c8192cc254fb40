"""What each part of a trained model contributes: parts are cut out without further training.

COMMAND  python benchmarks/lesions.py --data data/tabletop/val --out runs/lesions --limit 32
HARDWARE one CPU core without AMX
TIME     3 minutes per row

For each recipe of the paper's ablations, the parts that it switches off are removed from the
checkpoint; the others keep their weights. This is no ablation, whose models can learn to do
without a part. Each row is an `aid evaluate`; a repeated command resumes. Writes lesions.md.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from aid.ablate.rows import choose_rows, merged, read_recipe
from aid.config import ModelConfig, from_json, to_json
from aid.models.backbone import load_backbone
from aid.models.checkpoint import read_info, read_trained, save_checkpoint
from aid.models.denoiser import Denoiser
from aid.predict import find_model
from aid.video import whole_file

SET = "the instruction"


def without(config: ModelConfig, recipe: Path) -> ModelConfig:
    """The model's settings, with those that the recipe names changed."""
    return from_json(ModelConfig, merged(to_json(config), read_recipe(recipe)["model"]))


def cut(checkpoint: Path, backbone: Path, config: ModelConfig, out: Path) -> None:
    """Writes a checkpoint with these settings: tensors that its network has, none of them new."""
    info, tensors = read_info(checkpoint), read_trained(checkpoint)
    unet = load_backbone(backbone, ("unet",), torch.float32).part("unet")
    denoiser = Denoiser(unet, info.text_dim, info.image_dim, config)
    denoiser.load_trained_state_dict(
        {name: tensors[name] for name in denoiser.trained_state_dict()}
    )
    save_checkpoint(out, denoiser, replace(info, model=config))


def main() -> None:
    """Cuts, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a split: val")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="tabletop")
    parser.add_argument("--recipes", type=Path, default=Path("configs/tabletop/ablations"))
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--rows", nargs="*", help="of the ablation; default all")
    options = parser.parse_args()
    table = ["| conditions, adapters | accuracy | 95 % | right object | Fréchet | videos |"]
    table += ["| --- | --- | --- | --- | --- | --- |"]
    checkpoint, backbone = find_model(options.model)
    whole, done = read_info(checkpoint).model, []
    try:
        rows = choose_rows(options.rows)
    except ValueError as error:
        parser.error(str(error))
    for row in rows:
        config = without(whole, options.recipes / f"{row.recipe}.yaml")
        if config in done:  # the full model is a row of both tables
            continue
        done.append(config)
        folder = options.out / row.recipe
        if not (folder / "aid").is_dir():
            cut(checkpoint, backbone, config, folder / "aid")
        scored = subprocess.run(
            [sys.executable, "-m", "aid.cli", "evaluate", "--data", options.data, "--model",
             folder / "aid", "--backbone", backbone, "--out", folder / "report",
             "--limit", str(options.limit)],
        )  # fmt: skip
        if scored.returncode:  # it has said why
            raise SystemExit(scored.returncode)
        report = json.loads((folder / "report/report.json").read_text(encoding="utf-8"))
        score = report["scores"][SET]
        low, high = score["interval"]
        likeness = report["comparison"]["likeness"][SET]
        table.append(
            f"| {row.table}: {row.title} | {100 * score['accuracy']:.1f} % "
            f"| {100 * low:.1f} to {100 * high:.1f} | {100 * score['right_object']:.1f} % "
            f"| {likeness['frechet']['value']:.3g} | {score['num_videos']} |"
        )
        print(table[-1], flush=True)
    with whole_file(options.out / "lesions.md") as temporary:
        temporary.write_text("\n".join(table) + "\n", encoding="utf-8")
    print(options.out / "lesions.md")


if __name__ == "__main__":
    main()
