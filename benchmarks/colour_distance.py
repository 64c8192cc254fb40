"""How much the squared error counts a missing object, by its colour and what is behind it.

COMMAND  python benchmarks/colour_distance.py --data data/tabletop/val
HARDWARE one CPU core
TIME     ten seconds

The squared distance, mean over channels, between the latent cell in the middle of an object and
the one in the middle of a container, of another object, or of the bare table (the median cell).
Cells of objects of one colour are averaged over the first frames of the data set.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from aid.data.manifest import read_manifest
from aid.models.backbone import load_backbone
from aid.predict import find_model
from aid.tabletop.judge import require_facts
from aid.tabletop.reader.reading import OutcomeReader
from aid.video import read_video, to_float

NUM_SCENES = 60


def main() -> None:
    """Prints the table: a line for each colour of objects."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="val")
    options = parser.parse_args()
    try:
        rows = require_facts(read_manifest(options.data))
    except ValueError as error:
        parser.error(str(error))
    backbone = load_backbone(find_model()[1], ("vae",))
    objects: dict[str, list[Tensor]] = {}
    behind: dict[str, list[Tensor]] = {"table": []}
    scenes = {row.world["scene"]: row for row in rows}
    for row in list(scenes.values())[:NUM_SCENES]:
        frame = read_video(options.data / row.video)[:1]
        latents = backbone.encode(to_float(frame)[None])[0, 0]  # c h w
        behind["table"].append(latents.flatten(1).median(dim=1).values)
        items = {item["name"]: item for item in row.world["items"]}
        blobs = OutcomeReader(frame[0], list(items), row.world["camera"]).blobs
        for name, blob in blobs.items():
            x, y = (int(at) // backbone.down_scaling for at in blob.centre)
            item, cell = items[name], latents[:, y, x]
            if item["is_container"]:
                behind.setdefault(f"{item['colour']} container", []).append(cell)
            else:
                objects.setdefault(item["colour"], []).append(cell)
    mean = {colour: torch.stack(cells).mean(0) for colour, cells in sorted(objects.items())}
    places = {place: torch.stack(cells).mean(0) for place, cells in behind.items()}
    places |= {f"{colour} object": cell for colour, cell in mean.items()}
    print("| object | on: " + " | ".join(places) + " |\n| --- |" + " --- |" * len(places))
    for colour, cell in mean.items():
        distances = [f"{(cell - other).square().mean():.1f}" for other in places.values()]
        print(f"| {colour} | " + " | ".join(distances) + " |")


if __name__ == "__main__":
    main()
