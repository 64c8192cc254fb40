"""Chooses the extractor: by name, or the one that fits the data."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from aid.metrics.extractors import Extractor
from aid.worlds import World, installed_worlds

PRETRAINED = ("videomae", "vjepa2", "clip")
FRAMES = "clip-frames"
NAMES = ("i3d", *PRETRAINED, FRAMES)
WITHOUT = (
    "no extractor was chosen. --extractor takes i3d, videomae, vjepa2 or clip with their "
    "--weights, clip-frames with a --backbone (its image encoder), or the one of an installed world"
)
"""Reason why a comparison has no distances."""


def choose_extractor(
    name: str | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    *,
    world: World | None = None,
    frames: Callable[[], Extractor] | None = None,
) -> Extractor | None:
    """The extractor with this name, or the default.

    The default is the extractor that the weights belong to; else the first of the videos' world;
    else the backbone's image encoder; else None, which measures no distances.

    Args:
        name: one of `NAMES`, the name of a world's extractor, or "none".
        weights: its file or folder; None takes the shipped weights, which only worlds' extractors
            have.
        device: where it runs.
        world: the world of the videos, if there is one.
        frames: makes the extractor of the backbone's image encoder (`metrics.extractors.frames`);
            None if there is no backbone.

    Raises:
        ValueError: the name is unknown, or its weights are missing or do not fit.
    """
    of_worlds = {
        key: make for one in installed_worlds().values() for key, make in one.extractors.items()
    }
    if name is None and weights is not None:
        name = _kind_of(weights, of_worlds)
    if name is None and world is not None:
        name = next(iter(world.extractors), None)
    if name is None and frames is None:
        return None
    if name is None:
        name = FRAMES
    if name == "none":
        return None
    if name in of_worlds:
        return of_worlds[name](weights, device)
    if name not in NAMES:
        known = ", ".join([*of_worlds, *NAMES])
        raise ValueError(f"extractor {name!r} is unknown. Extractors: {known}, none.")
    if name == FRAMES:
        if frames is None:
            raise ValueError(
                "extractor 'clip-frames' is the image encoder of a backbone, and no backbone was "
                "given. Name one: --backbone"
            )
        if weights is not None:
            raise ValueError(
                "extractor 'clip-frames' uses the backbone's weights. Leave --weights out."
            )
        return frames()
    if weights is None:
        raise ValueError(
            f"extractor {name!r} needs weights, and none are downloaded. Give them: --weights; "
            "docs/evaluation.md says which."
        )
    if name == "i3d":
        from aid.metrics.extractors.i3d import I3D

        return I3D(weights, device)
    from aid.metrics.extractors.pretrained import Pretrained

    return Pretrained(name, weights, device)


def _kind_of(weights: Path, of_worlds: Iterable[str]) -> str | None:
    """The extractor of some weights: a file is I3D's, a folder names its own in config.json."""
    if weights.is_file():
        return "i3d"
    try:
        config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
        kind = str(config.get("extractor", config.get("model_type", "")))
    except (OSError, ValueError, AttributeError):
        kind = ""
    found = next((name for name in (*of_worlds, *PRETRAINED) if kind.startswith(name)), None)
    if found is None:
        raise ValueError(
            f"the weights {str(weights)!r} do not say which extractor they belong to. Name it: "
            "--extractor"
        )
    return found
