"""Records of what a video shows of each item, and the sizes of the shapes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aid.tabletop.language import CONTAINERS
from aid.tabletop.reader.camera import Camera


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Size of a shape in metres.

    `radius` bounds the shape in a view from above; `sight_height` is the height of the centre of
    its visible part; objects can lie in a container up to `inner_radius` from its centre.
    """

    radius: float
    height: float
    sight_height: float
    inner_radius: float = 0.0


MEASURES = {
    "box": Measures(radius=0.078, height=0.034, sight_height=0.016, inner_radius=0.050),
    "bowl": Measures(radius=0.072, height=0.039, sight_height=0.0295, inner_radius=0.046),
    "plate": Measures(radius=0.068, height=0.006, sight_height=0.001, inner_radius=0.054),
    "block": Measures(radius=0.039, height=0.058, sight_height=0.0318),
    "can": Measures(radius=0.027, height=0.064, sight_height=0.0358),
    "ball": Measures(radius=0.029, height=0.058, sight_height=0.029),
}
"""Every shape, from the largest in an image to the smallest."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What a video shows of one item. `end` and `end_pixel` are None if it is lost.

    Pixels are (column, row) in the working size. `end` assumes that the item stands on the table.
    """

    name: str
    start_pixel: tuple[float, float]
    end_pixel: tuple[float, float] | None
    start: tuple[float, float]
    end: tuple[float, float] | None
    is_gripped: bool
    """Whether the arm is extended and its gripper directly above the item."""
    is_held: bool
    """Whether the item is gripped and higher in the image than at first."""
    quality: float
    """Share of the template's energy that was found, about 1 for a real video."""

    @property
    def shape(self) -> str:
        """Block, can, ball, bowl, plate or box."""
        return self.name.split()[1]

    @property
    def is_container(self) -> bool:
        """Whether objects can be put in or on it."""
        return self.shape in CONTAINERS

    @property
    def measures(self) -> Measures:
        """The size of its shape."""
        return MEASURES[self.shape]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a video shows of every item, and its camera."""

    items: dict[str, Sighting]
    camera: Camera

    def end_at_height(self, name: str, z: float) -> Float[np.ndarray, " 2"] | None:
        """Where an item ends (x, y) if its centre is at height z; None if it is lost."""
        pixel = self.items[name].end_pixel
        return None if pixel is None else self.camera.place(np.array(pixel), z)
