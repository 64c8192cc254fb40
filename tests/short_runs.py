"""Settings of a training run that takes seconds, and its log, for the tests of `aid.train`."""

import json

from aid.config import NoiseConfig, SamplerConfig, TrainConfig

LOOP = TrainConfig(
    steps=4,
    batch_size=2,
    learning_rate=1e-2,
    cross_attention_learning_rate=1e-3,
    warmup_steps=1,
    noise=NoiseConfig(mean=0.0, std=1.0),
    log_every=1,
    check_every=2,
    save_every=2,
)
SAMPLER = SamplerConfig(num_steps=2, sigma_max=20.0, text_guidance=2.0)


def log_of(folder):
    """The lines of a run's log without their times, which differ between equal runs."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
