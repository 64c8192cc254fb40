"""One process of several that train together, started by torch.distributed.run.

python -m torch.distributed.run --nproc-per-node 2 two_processes.py CACHE BACKBONE OUT SETTINGS
"""

import json
import sys
from pathlib import Path

import torch

from aid.config import ModelConfig, SamplerConfig, TrainConfig, from_json
from aid.train import train


def main(cache: str, backbone: str, out: str, settings: str) -> None:
    torch.set_num_threads(1)
    values = json.loads(settings)
    train(
        Path(cache), Path(out), Path(backbone), held_out=Path(cache),
        model=from_json(ModelConfig, values["model"]),
        train=from_json(TrainConfig, values["train"]),
        sampler=from_json(SamplerConfig, values["sampler"]),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
