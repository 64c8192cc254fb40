"""Every number a user may change, as frozen dataclasses, checked before anything loads.

The command line and the recipes in `configs/` are made from these (see `cli/`); a checkpoint
carries the ones that made it. "Not in the paper" marks a setting on which the paper is silent
(docs/paper_map.md). `data` has the videos and frames that are read, `model` the trained part,
`run` training and sampling.
"""

import json
import reprlib
from dataclasses import asdict, is_dataclass
from math import inf
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from aid.config.asking import AskingConfig
from aid.config.data import FrameConfig, SourceConfig
from aid.config.model import (
    AdapterConfig,
    ConditionConfig,
    CrossAttentionConfig,
    DQFormerConfig,
    LoraConfig,
    ModelConfig,
)
from aid.config.run import (
    HardExampleConfig,
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
    "ConditionConfig",
    "CrossAttentionConfig",
    "DQFormerConfig",
    "FrameConfig",
    "HardExampleConfig",
    "LoopConfig",
    "LoraConfig",
    "ModelConfig",
    "NoiseConfig",
    "Precision",
    "SamplerConfig",
    "SourceConfig",
    "TimeNoiseConfig",
    "TrainConfig",
    "Tuning",
    "from_json",
    "to_json",
    "tuned",
]


def to_json(config: Any) -> dict[str, Any]:
    """A config as plain JSON values, equal to what comes back from a file."""
    return json.loads(json.dumps(asdict(config)))


def from_json(cls: type, values: dict[str, Any]) -> Any:
    """A config from `to_json`'s values.

    Raises:
        ValueError: a key is unknown, or a value is not what the setting must be; it names both.
    """
    known = get_type_hints(cls)
    if not isinstance(values, dict):
        raise ValueError(f"{cls.__name__} must be settings by name, got {reprlib.repr(values)}.")
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(
            f"{cls.__name__} has no setting {', '.join(map(repr, unknown[:5]))}. "
            f"Known: {', '.join(known)}."
        )
    made = {}
    for name, value in values.items():
        if isinstance(value, dict) and is_dataclass(known[name]):
            value = from_json(known[name], value)
        value = tuple(value) if isinstance(value, list) else value
        if not _can_be(value, known[name]):
            kind = getattr(known[name], "__name__", None) if is_dataclass(known[name]) else None
            wanted = kind or str(known[name]).replace("typing.", "").removeprefix("<class '")
            raise ValueError(
                f"{cls.__name__}.{name} must be {wanted.removesuffix(chr(39) + chr(62))}, got "
                f"{reprlib.repr(value)}."
            )
        is_float = known[name] in (float, float | None)
        made[name] = float(value) if is_float and type(value) is int else value
    return cls(**made)


def _can_be(value: Any, kind: Any) -> bool:
    """Whether a value out of a file can be a setting of that type; NaN is no number."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_can_be(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = [parts[0]] * len(value) if parts[1:] == (...,) else parts
        return len(value) == len(each) and all(map(_can_be, value, each))
    if origin is dict:
        return isinstance(value, dict) and all(
            _can_be(name, parts[0]) and _can_be(one, parts[1]) for name, one in value.items()
        )
    if kind in (int, float):
        is_number = isinstance(value, int | kind) and not isinstance(value, bool)
        return is_number and value == value and (kind is int or abs(value) < 1e300 or value == inf)
    return isinstance(value, kind)
