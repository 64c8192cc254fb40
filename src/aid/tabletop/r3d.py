"""tabletop-r3d: a small feature extractor for table-top videos, which needs no download.

`aid tabletop extractor` trains it to classify the task of real videos; the features are the
activations before its classifiers. A distance between them is named after this extractor, never
FVD.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from aid.metrics.distances import CUBIC
from aid.metrics.weights import file_hash
from aid.tabletop import ASSETS, EXTRACTOR
from aid.tabletop.language import COLOURS, CONTAINERS, DIRECTIONS, FAMILIES, OBJECTS
from aid.types import VideoRow

WEIGHTS, CONFIG = "r3d.safetensors", "config.json"
NONE = "none"
CLASSES = {
    "family": FAMILIES,
    "object_colour": COLOURS,
    "object_shape": OBJECTS,
    "target_colour": (NONE, *COLOURS),
    "target_shape": (NONE, *OBJECTS, *CONTAINERS),
    "direction": (NONE, *DIRECTIONS),
}
"""The questions that the network answers about a video, and the classes of each."""


def task_labels(row: VideoRow) -> dict[str, int]:
    """The class of a table-top video for every question, as an index."""
    task = row.world["task"]
    colour, shape = task["object"].split()
    target_colour, target_shape = (task.get("target") or f"{NONE} {NONE}").split()
    labels = {
        "family": task["family"],
        "object_colour": colour,
        "object_shape": shape,
        "target_colour": target_colour,
        "target_shape": target_shape,
        "direction": task.get("direction") or NONE,
    }
    return {question: CLASSES[question].index(label) for question, label in labels.items()}


@dataclass(frozen=True, kw_only=True)
class R3DConfig:
    """Shape of the network."""

    widths: tuple[int, ...] = (64, 96, 192)
    """Channels of the stem and of each stage."""
    dim: int = 128
    """Number of features."""


class Stage(nn.Module):
    """A residual block of a spatial and a temporal convolution (Tran et al. 2018, "R(2+1)D").

    Args:
        width_in: input channels.
        width: output channels.
    """

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(width_in, width, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.spatial_norm = nn.GroupNorm(8, width)
        self.temporal = nn.Conv3d(width, width, (3, 1, 1), (2, 1, 1), (1, 0, 0), bias=False)
        self.temporal_norm = nn.GroupNorm(8, width)
        self.skip = nn.Conv3d(width_in, width, 1, 2, bias=False)

    def forward(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b d g i j"]:
        """Features at half the frame rate and half the height and width."""
        inner = F.relu(self.spatial_norm(self.spatial(x)))
        return F.relu(self.temporal_norm(self.temporal(inner)) + self.skip(x))


class R3D(nn.Module):
    """Features of videos of about 64 pixels, and classifiers of the task that they show.

    The input is every frame and its difference from the first frame, which links motion to colour.

    Args:
        config: widths of the network.
    """

    def __init__(self, config: R3DConfig) -> None:
        super().__init__()
        first, *widths = config.widths
        self.config = config
        self.stem = nn.Conv3d(6, first, (1, 6, 6), (1, 4, 4), (0, 1, 1))
        befores = (first, *widths[:-1])
        self.stages = nn.Sequential(*map(Stage, befores, widths))
        self.project = nn.Linear(2 * widths[-1], config.dim)
        self.heads = nn.ModuleDict(
            {question: nn.Linear(config.dim, len(words)) for question, words in CLASSES.items()}
        )

    def forward(self, frames: Float[Tensor, "b f 3 H W"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1]."""
        both = torch.cat([frames, frames - frames[:, :1]], dim=2).transpose(1, 2)  # b 6 f H W
        x = self.stages(F.relu(self.stem(both))).float()
        # The mean describes the appearance; the maximum shows whether something small happened.
        return self.project(torch.cat([x.mean((2, 3, 4)), x.amax((2, 3, 4))], dim=1)).float()

    def logits(self, features: Float[Tensor, "b d"]) -> dict[str, Float[Tensor, "b _"]]:
        """The logits of every question."""
        return {question: head(F.relu(features)) for question, head in self.heads.items()}


def save_r3d(folder: Path, network: R3D, scale: float, facts: Mapping[str, object]) -> None:
    """Writes the weights in half precision and `config.json` with `facts` about the training.

    Args:
        folder: made if it does not exist.
        network: the trained network.
        scale: root mean square of a feature over real videos; features are divided by it, because
            the kernel's cube would otherwise make distances unreadable.
        facts: plain values.
    """
    from safetensors.torch import save_file

    from aid.video import whole_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: t.detach().cpu().half().contiguous() for name, t in network.state_dict().items()}
    with whole_file(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
    with whole_file(folder / CONFIG) as temporary:
        shape = {"widths": list(network.config.widths), "dim": network.config.dim}
        config = {"extractor": EXTRACTOR, **facts, **shape, "scale": scale}
        temporary.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_r3d(folder: Path) -> tuple[R3D, float]:
    """The network of a folder that `save_r3d` wrote, in float32, and the scale of its features.

    Raises:
        ValueError: the folder holds no table-top extractor.
    """
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{str(folder)!r} holds no table-top extractor ({WEIGHTS}, {CONFIG}). Make one: "
            "aid tabletop extractor --data data/tabletop/train --out runs/r3d"
        )
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    network = R3D(R3DConfig(widths=tuple(config["widths"]), dim=config["dim"]))
    network.load_state_dict({name: t.float() for name, t in load_file(folder / WEIGHTS).items()})
    return network.eval().requires_grad_(False), config["scale"]


class TabletopR3D:
    """The shipped extractor of the table-top world.

    Args:
        folder: written by `aid tabletop extractor`; None takes the shipped one.
        device: where it runs.
    """

    name, side, kernel = EXTRACTOR, 64, CUBIC
    is_tuned_to = "this project's table-top videos"

    def __init__(self, folder: Path | None = None, device: str = "cpu") -> None:
        folder = folder or ASSETS / "r3d"
        network, self.scale = load_r3d(folder)
        self.network, self.device, self.dim = network.to(device), device, network.config.dim
        identity = f"{file_hash(folder / WEIGHTS)} {self.scale}"
        self.hash = hashlib.sha256(identity.encode()).hexdigest()[:12]

    @torch.no_grad()
    def features(self, frames: Float[Tensor, "b f 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1]."""
        return self.network(frames.to(self.device)) / self.scale
