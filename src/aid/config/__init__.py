"""Every number a user may change, as frozen dataclasses, checked before anything loads.

The command line and the recipes in `configs/` are made from these (see `cli/`); a checkpoint
carries the ones that made it. "Ours" marks a value on which the paper is silent
(docs/paper_map.md). `data` is which videos and frames are seen, `model` what AID adds to the
backbone, `run` how it is trained and sampled, `embedded` the small backbone that is made from
nothing.
"""

import json
from dataclasses import asdict, is_dataclass
from typing import Any, get_type_hints

from aid.config.asking import AskingConfig
from aid.config.data import FrameConfig, SourceConfig
from aid.config.embedded import (
    AutoencoderConfig,
    ClipConfig,
    PretrainConfig,
    UNetConfig,
    VideoStageConfig,
    WordStageConfig,
)
from aid.config.model import (
    AdapterConfig,
    ConditionConfig,
    CrossAttentionConfig,
    DQFormerConfig,
    LoraConfig,
    ModelConfig,
)
from aid.config.run import (
    LoopConfig,
    NoiseConfig,
    Precision,
    SamplerConfig,
    TimeNoiseConfig,
    TrainConfig,
)
from aid.config.tuning import Tuning, tuned

__all__ = [
    "AdapterConfig",
    "AskingConfig",
    "AutoencoderConfig",
    "ClipConfig",
    "ConditionConfig",
    "CrossAttentionConfig",
    "DQFormerConfig",
    "FrameConfig",
    "LoopConfig",
    "LoraConfig",
    "ModelConfig",
    "NoiseConfig",
    "Precision",
    "PretrainConfig",
    "SamplerConfig",
    "SourceConfig",
    "TimeNoiseConfig",
    "TrainConfig",
    "Tuning",
    "UNetConfig",
    "VideoStageConfig",
    "WordStageConfig",
    "from_json",
    "to_json",
    "tuned",
]


def to_json(config: Any) -> dict[str, Any]:
    """A config as plain JSON values, equal to what comes back from a file."""
    return json.loads(json.dumps(asdict(config)))


def from_json(cls: type, values: dict[str, Any]) -> Any:
    """A config from `to_json`'s values; unknown keys raise a `ValueError` that names them."""
    known = get_type_hints(cls)
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(
            f"{cls.__name__} has no setting {', '.join(map(repr, unknown))}. "
            f"Known: {', '.join(known)}."
        )
    made = {}
    for name, value in values.items():
        if isinstance(value, dict) and is_dataclass(known[name]):
            value = from_json(known[name], value)
        made[name] = tuple(value) if isinstance(value, list) else value
    return cls(**made)
