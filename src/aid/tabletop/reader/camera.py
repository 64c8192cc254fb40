"""Converts pixels to positions on the table and back, for a pinhole camera."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera over a table whose top is the plane z = 0; metres and degrees.

    The columns of `rotation` are the camera's right, up and backward directions in the world. A
    point p has the camera coordinates rotation^T (p - position) = (x, y, z) and is seen at column
    W/2 + s x / -z and row H/2 - s y / -z of the image, where s = H/2 / tan(fovy/2).
    """

    position: tuple[float, float, float]
    rotation: tuple[tuple[float, float, float], ...]
    fovy: float
    height: int
    width: int

    @classmethod
    def from_world(cls, world_camera: dict[str, Any], height: int, width: int) -> "Camera":
        """The camera of a manifest row (`world["camera"]`) for images of this size.

        Raises:
            ValueError: position, rotation or fovy is missing.
        """
        if missing := {"position", "rotation", "fovy"} - set(world_camera):
            raise ValueError(
                f"the camera lacks {', '.join(sorted(missing))}. Make the data set again: "
                "aid tabletop writes the camera of every video."
            )
        return cls(
            position=tuple(world_camera["position"]),
            rotation=tuple(tuple(row) for row in world_camera["rotation"]),
            fovy=world_camera["fovy"],
            height=height,
            width=width,
        )

    @property
    def _scale(self) -> float:
        return self.height / 2 / float(np.tan(np.radians(self.fovy) / 2))

    def pixel(self, point: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 2"]:
        """(column, row) of a point of the world; (0, 0) is the corner of the image."""
        x, y, z = np.array(self.rotation).T @ (np.asarray(point) - self.position)
        return np.array([self.width / 2, self.height / 2]) + self._scale * np.array([x, -y]) / -z

    def place(self, pixel: Float[np.ndarray, " 2"], z: float) -> Float[np.ndarray, " 2"]:
        """(x, y) of the intersection of a pixel's ray and the horizontal plane at height z."""
        column, row = pixel
        ray = np.array([column - self.width / 2, self.height / 2 - row, -self._scale])
        direction = np.array(self.rotation) @ ray
        steps = (z - self.position[2]) / direction[2]
        return (np.array(self.position) + steps * direction)[:2]
