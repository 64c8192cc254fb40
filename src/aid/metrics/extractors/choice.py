"""Which extractor is used: the one that was named, or the one that fits the data."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aid.metrics.extractors import Extractor, TabletopR3D

PRETRAINED = ("videomae", "vjepa2", "clip")
FRAMES = "clip-frames"
NAMES = ("tabletop-r3d", "i3d", *PRETRAINED, FRAMES)
WITHOUT = (
    "no extractor was chosen. --extractor takes i3d, videomae, vjepa2 or clip with their "
    "--weights, clip-frames with a --backbone (its image encoder), or tabletop-r3d for table-top "
    "videos"
)
"""Why a comparison has no distances."""


def is_tabletop(worlds: Sequence[Mapping[str, Any]]) -> bool:
    """Whether rows are of the table-top, by what they say of their world (`VideoRow.world`)."""
    return bool(worlds) and all({"items", "camera"} <= world.keys() for world in worlds)


def choose_extractor(
    name: str | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    *,
    is_tabletop: bool = False,
    frames: Callable[[], Extractor] | None = None,
) -> Extractor | None:
    """An extractor, by name or by what there is.

    Without a name: the one that the weights are of; else, for table-top videos, tabletop-r3d; else
    the backbone's image encoder; else None, which measures no distances.

    Args:
        name: one of `NAMES`, or "none".
        weights: its file or folder; None takes the shipped ones, which only tabletop-r3d has.
        device: where it runs.
        is_tabletop: whether the videos are of the table-top.
        frames: makes the extractor of the backbone's image encoder, `metrics.extractors.frames`;
            None if there is no backbone.

    Raises:
        ValueError: the name is unknown, or its weights are missing or do not fit.
    """
    if name is None and weights is not None:
        name = _kind_of(weights)
    if name is None and not is_tabletop and frames is None:
        return None
    if name is None:
        name = "tabletop-r3d" if is_tabletop else FRAMES
    if name == "none":
        return None
    if name == "tabletop-r3d":
        return TabletopR3D(weights, device)
    if name not in NAMES:
        raise ValueError(f"extractor {name!r} is unknown. Extractors: {', '.join(NAMES)}, none.")
    if name == FRAMES:
        if frames is None:
            raise ValueError(
                "extractor 'clip-frames' is the image encoder of a backbone, and there is none "
                "here. Name one: --backbone"
            )
        if weights is not None:
            raise ValueError(
                "extractor 'clip-frames' has the backbone's weights. Leave --weights out."
            )
        return frames()
    if weights is None:
        raise ValueError(
            f"extractor {name!r} has no weights here, and none are downloaded. Give them: "
            "--weights; docs/evaluation.md says which."
        )
    if name == "i3d":
        from aid.metrics.extractors.i3d import I3D

        return I3D(weights, device)
    from aid.metrics.extractors.pretrained import Pretrained

    return Pretrained(name, weights, device)


def _kind_of(weights: Path) -> str:
    """The extractor that weights are of: a file is I3D's, a folder says it in its config.json."""
    if weights.is_file():
        return "i3d"
    try:
        config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
        kind = str(config.get("model_type", ""))
    except (OSError, ValueError):
        kind = ""
    return next((name for name in PRETRAINED if kind.startswith(name)), "tabletop-r3d")
