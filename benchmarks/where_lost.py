"""At which noise level objects are lost: videos sampled from real ones with noise.

COMMAND  python benchmarks/where_lost.py --data data/tabletop/val --cache runs/cache/val
HARDWARE one CPU core without AMX
TIME     18 minutes, two of them side by side

The real video's latents get noise of one level, the model samples from there with its own lower
levels, and the outcome reader reads the result. The line of the highest level is the usual case,
noise alone. States and tokens are those of the cache (`aid prepare` of the same split).
"""

import argparse
from pathlib import Path

import torch

from aid.data.cache import Cache
from aid.data.manifest import read_manifest
from aid.diffusion.edm import karras_sigmas
from aid.diffusion.sampler import SOLVERS
from aid.evaluate.judge import wilson_interval
from aid.models.denoiser import guided_denoise
from aid.optim import sample_generators
from aid.predict import Predictor
from aid.tabletop.judge import alternatives_of, require_facts, task_of
from aid.tabletop.reader.instruction import judge
from aid.tabletop.reader.reading import read_outcome
from aid.train.batches import conditions_of, empty_text
from aid.video import read_video, to_uint8

STARTS = (40.0, 12.66, 4.0, 1.03)
BATCH_SIZE = 8


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="val")
    parser.add_argument("--cache", type=Path, required=True, help="of the same split")
    parser.add_argument("--model", default="tabletop")
    parser.add_argument("--backbone", help="of a model that lies alone")
    parser.add_argument("--limit", type=int, default=100)
    options = parser.parse_args()
    try:
        rows = require_facts(read_manifest(options.data)[: options.limit])
        cache = Cache(options.cache)
        predictor = Predictor.from_pretrained(options.model, options.backbone)
    except ValueError as error:
        parser.error(str(error))
    held = [row["id"] for row in cache.rows][: len(rows)]
    if held != [row.id for row in rows]:
        parser.error(f"{str(options.cache)!r} does not hold the videos of {str(options.data)!r}.")
    sampler, denoiser = predictor.sampler, predictor.denoiser
    own = karras_sigmas(sampler.num_steps, sampler.sigma_min, sampler.sigma_max, sampler.rho)
    levels = {f"{own[0]:g}, from noise alone": own}
    for start in STARTS:
        levels[f"{start:g}"] = torch.cat([torch.tensor([start]), own[own < start]])
    obeyed, lost = dict.fromkeys(levels, 0), dict.fromkeys(levels, 0)
    empty = denoiser.null_text(empty_text(cache))
    for at in range(0, len(rows), BATCH_SIZE):
        indices = list(range(at, min(at + BATCH_SIZE, len(rows))))
        batch = cache.batch(indices)
        conditions = conditions_of(batch, denoiser.config.condition)
        shape = batch.latents.shape[1:]
        noise = torch.stack(
            [torch.randn(shape, generator=g) for g in sample_generators(0, 0, indices)]
        )
        denoise = guided_denoise(denoiser, conditions, empty, sampler)
        for name, sigmas in levels.items():
            start = noise * sigmas[0] + (0 if sigmas is own else batch.latents)
            videos = predictor.backbone.decode(SOLVERS[sampler.solver](denoise, start, sigmas))
            for index, video in zip(indices, videos, strict=True):
                row, shown = rows[index], to_uint8(video)
                world = row.world
                shown[0] = read_video(options.data / row.video)[0]
                reading = read_outcome(
                    shown, [item["name"] for item in world["items"]], world["camera"]
                )
                verdict = judge(reading, task_of(row), alternatives_of(row))
                obeyed[name] += verdict.is_obeyed
                lost[name] += verdict.num_lost
    print("| drawn from sigma | obey | of | 95 % | items lost |\n| --- | --- | --- | --- | --- |")
    for name in levels:
        low, high = wilson_interval(obeyed[name], len(rows))
        interval = f"{low:.1%} to {high:.1%}"
        print(f"| {name} | {obeyed[name]} | {len(rows)} | {interval} | {lost[name]} |")


if __name__ == "__main__":
    main()
