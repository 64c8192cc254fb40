"""Which extractor a name means."""

from pathlib import Path

from aid.metrics.extractors import Extractor, TabletopR3D

PRETRAINED = ("videomae", "vjepa2", "clip")
NAMES = ("tabletop-r3d", "i3d", *PRETRAINED)


def choose_extractor(name: str, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """An extractor by name.

    Args:
        name: one of `NAMES`.
        weights: its file or folder; None takes the shipped ones, which only tabletop-r3d has.
        device: where it runs.

    Raises:
        ValueError: the name is unknown, or its weights are missing or do not fit.
    """
    if name == "tabletop-r3d":
        return TabletopR3D(weights, device)
    if name not in NAMES:
        raise ValueError(f"extractor {name!r} is unknown. Extractors: {', '.join(NAMES)}.")
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
