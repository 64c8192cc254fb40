"""Pictures of a table-top without a simulator: flat-coloured solids seen through a real camera."""

import math

import numpy as np
from PIL import Image, ImageDraw

from aid.tabletop.reader.camera import Camera

PAINT = {
    "red": (219, 15, 15),
    "green": (18, 158, 36),
    "blue": (20, 56, 235),
    "yellow": (245, 219, 20),
    "purple": (133, 26, 179),
    "orange": (255, 117, 5),
}
TABLE, BLACK, GREY = (165, 150, 130), (35, 35, 38), (170, 170, 178)
SOLIDS = {  # corners seen from above, radius, height
    "block": (4, 0.041, 0.058),
    "can": (16, 0.027, 0.064),
    "ball": (16, 0.029, 0.058),
    "bowl": (16, 0.072, 0.039),
    "plate": (16, 0.068, 0.006),
    "box": (4, 0.085, 0.034),
}


def camera_facts(azimuth=0.05, elevation=0.92, distance=1.6) -> dict:
    """A camera as a manifest row has it."""
    flat = math.cos(elevation)
    backward = np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    position = np.array([0.225, 0.0, 0.03]) + distance * backward
    return {
        "position": position.tolist(),
        "rotation": np.array([right, np.cross(backward, right), backward]).T.tolist(),
        "fovy": 18.4,
    }


def picture(items: dict[str, tuple[float, float, float]], hand=None, size: int = 64) -> np.ndarray:
    """uint8 `H W 3` of items (name -> x, y, height of the underside) and the arm.

    `hand` is the x, y, z of the point between the fingers; None is the arm's rest pose.
    """
    camera = Camera.from_world(camera_facts(), 4 * size, 4 * size)
    image = Image.new("RGB", (4 * size, 4 * size), TABLE)
    pen = ImageDraw.Draw(image)

    def at(x, y, z):
        return tuple(camera.pixel(np.array([x, y, z])))

    pen.polygon(
        [at(*p) for p in [(0, -0.05, 0), (0, 0.05, 0), (0, 0.05, 0.2), (0, -0.05, 0.2)]], BLACK
    )
    for name, (x, y, z) in sorted(items.items(), key=lambda item: item[1][0] + 3 * item[1][2]):
        colour, shape = name.split()
        corners, radius, height = SOLIDS[shape]
        if shape == "ball":
            column, row = at(x, y, z + radius)
            r = radius * 4 * size / 0.517
            pen.ellipse([column - r, row - r, column + r, row + r], PAINT[colour])
            continue
        turns = np.arange(corners) * 2 * math.pi / corners + 0.5
        ring = [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in turns]
        for one, other in zip(ring, ring[1:] + ring[:1], strict=True):
            side = [at(*one, z), at(*other, z), at(*other, z + height), at(*one, z + height)]
            pen.polygon(side, PAINT[colour])
        pen.polygon([at(*corner, z + height) for corner in ring], PAINT[colour])
        pen.polygon([at(*corner, z) for corner in ring], PAINT[colour])
    x, y, z = hand or (0.142, 0.0, 0.152)
    pen.line([at(0, 0, 0.15), at(x, y, z + 0.11)], GREY, width=4 * 4)
    palm = [(x, y - 0.05, z + 0.04), (x, y + 0.05, z + 0.04)]
    palm += [(x, y + 0.05, z + 0.09), (x, y - 0.05, z + 0.09)]
    pen.polygon([at(*p) for p in palm], BLACK)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def video(start: dict, end: dict, hand=None, size: int = 64, num_frames: int = 4) -> np.ndarray:
    """A video that jumps from start to end half-way."""
    first, last = picture(start, size=size), picture(end, hand, size=size)
    half = num_frames // 2
    return np.stack([first] * half + [last] * (num_frames - half))
