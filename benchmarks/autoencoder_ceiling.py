"""What of a real video survives the autoencoder? The reader's verdict after encoding and decoding.

COMMAND  python benchmarks/autoencoder_ceiling.py --data data/tabletop/forks --limit 200
HARDWARE two CPU cores without AMX
TIME     two minutes

No model could obey more often than this. Noise on the latents says how exact a prediction must be;
latents of the table-top have a standard deviation of about one.
"""

import argparse
import json
from pathlib import Path

import torch

from aid.evaluate.questions import questions_of
from aid.metrics.instruction import judge
from aid.metrics.reading import OutcomeReader
from aid.models.backbone import load_backbone
from aid.optim import generator_for
from aid.predict import find_model
from aid.types import VideoRow
from aid.video import read_video

NOISE = (0.0, 0.1, 0.3, 0.5)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="test, forks or combos")
    parser.add_argument("--limit", type=int, default=200)
    options = parser.parse_args()
    backbone = load_backbone(find_model("tabletop", None)[1], ("vae",))
    lines = (options.data / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [VideoRow.from_json(json.loads(line)) for line in lines[: options.limit]]
    obeyed = dict.fromkeys(NOISE, 0)
    for at, question in enumerate(questions_of(rows, ["true"], 0)):
        world, video = question.row.world, read_video(options.data / question.row.video)
        names = [item["name"] for item in world["items"]]
        reader = OutcomeReader(video[0], names, world["camera"])
        frames = torch.from_numpy(video).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
        latents = backbone.encode(frames)
        noise = torch.randn(latents.shape, generator=generator_for(0, at))
        for level in NOISE:
            decoded = backbone.decode(latents + level * noise)[0].clamp(-1, 1)
            shown = ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
            shown[0] = video[0]
            verdict = judge(reader.read(shown), question.asked, question.alternatives)
            obeyed[level] += verdict.is_obeyed
    print("| noise on the latents | obey | of |\n| --- | --- | --- |")
    for level, number in obeyed.items():
        print(f"| {level:g} | {number} | {len(rows)} |")


if __name__ == "__main__":
    main()
