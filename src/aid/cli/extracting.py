"""The extractor that a command measures distances with."""

from pathlib import Path
from typing import Any

from aid.config import Precision
from aid.worlds import World, installed_worlds


def extractor_for(
    name: str | None,
    weights: Path | None,
    *,
    backbone: str | Path | None = None,
    world: World | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> Any:
    """The extractor that was named or fits the data; None if there is none.

    Args:
        name: as for `metrics.extractors.choice.choose_extractor`.
        weights: likewise.
        backbone: whose image encoder may serve: a folder, "tabletop", or a name on the hub.
        world: that the real videos are of, if there is one (`aid.worlds`).
        device: where it runs; None takes an accelerator if there is one.
        precision: of the backbone's image encoder.

    Raises:
        ValueError: name, weights, backbone or device do not exist or do not fit.
    """
    from aid.metrics.extractors.choice import choose_extractor
    from aid.models.devices import choose_device

    chosen = str(choose_device(device))

    def frames() -> Any:
        return frame_extractor(backbone, chosen, precision)

    return choose_extractor(
        name, weights, chosen, world=world,
        frames=None if backbone is None else frames,
    )  # fmt: skip


def frame_extractor(backbone: str | Path, device: str, precision: Precision = "float32") -> Any:
    """The image encoder of a backbone as an extractor of features of videos.

    Args:
        backbone: as for `extractor_for`.
        device: where it runs.
        precision: in which it computes; embeddings are float32.

    Raises:
        ValueError: there is no such backbone.
    """
    from aid.metrics.extractors.frames import FrameExtractor
    from aid.metrics.weights import file_hash
    from aid.models.backbone import load_backbone
    from aid.models.devices import dtype_of
    from aid.models.folder import weight_files
    from aid.predict import find_backbone

    folder = find_backbone(backbone)
    loaded = load_backbone(folder, ("image_encoder",), dtype_of(precision))
    loaded.to(device)
    config = loaded.part("image_encoder").config
    files = weight_files(folder, "image_encoder")
    return FrameExtractor(
        model=_name_of(folder),
        hash=" ".join(file_hash(path) for path in files) + f" {precision}",
        side=config.image_size,
        width=config.projection_dim,
        embed=lambda pixels: loaded.image_embedding(pixels)[:, 0],
        device=device,
    )


def _name_of(backbone: Path) -> str:
    """A backbone's name for people: many lie in a folder "backbone" beside their checkpoint."""
    for world in installed_worlds().values():
        if world.model is not None and backbone == world.model / "backbone":
            return world.name
    folder = backbone.resolve()
    return folder.parent.name if folder.name == "backbone" else folder.name
