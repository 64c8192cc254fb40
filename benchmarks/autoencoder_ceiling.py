"""What the outcome reader reads from real videos after the autoencoder: the limit of accuracy.

COMMAND  python benchmarks/autoencoder_ceiling.py --data data/tabletop/val --limit 200
HARDWARE two CPU cores without AMX
TIME     two and a half minutes

Real videos are encoded, decoded and read; no model can reach a higher accuracy. Noise on the
latents shows how exact a prediction must be; latents of the table-top have a standard deviation
of about 1.
"""

import argparse
from pathlib import Path

import torch

from aid.data.manifest import read_manifest
from aid.models.backbone import load_backbone
from aid.optim import generator_for
from aid.predict import find_model
from aid.tabletop.judge import alternatives_of, require_facts, task_of
from aid.tabletop.reader.instruction import judge
from aid.tabletop.reader.reading import read_outcome
from aid.video import read_video, to_float, to_uint8

NOISE = (0.0, 0.1, 0.3, 0.5)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="val")
    parser.add_argument("--limit", type=int, default=200)
    options = parser.parse_args()
    try:
        rows = require_facts(read_manifest(options.data)[: options.limit])
    except ValueError as error:
        parser.error(str(error))
    backbone = load_backbone(find_model()[1], ("vae",))
    obeyed = dict.fromkeys(NOISE, 0)
    for at, row in enumerate(rows):
        world, video = row.world, read_video(options.data / row.video)
        names = [item["name"] for item in world["items"]]
        latents = backbone.encode(to_float(video)[None])
        noise = torch.randn(latents.shape, generator=generator_for(0, at))
        for level in NOISE:
            shown = to_uint8(backbone.decode(latents + level * noise)[0])
            shown[0] = video[0]
            reading = read_outcome(shown, names, world["camera"])
            obeyed[level] += judge(reading, task_of(row), alternatives_of(row)).is_obeyed
    print("| noise on the latents | obey | of |\n| --- | --- | --- |")
    for level, number in obeyed.items():
        print(f"| {level:g} | {number} | {len(rows)} |")


if __name__ == "__main__":
    main()
