"""Sizes of all items and of the arm, in metres."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of a shape.

    `radius` bounds it in a view from above. `rest_height` is the height of its body's origin on the
    table (the centre of an object, the underside of a container). `floor` is the height of objects
    in a container, `inner_radius` their largest distance from its centre.
    """

    radius: float
    height: float
    rest_height: float = 0.0
    floor: float = 0.0
    inner_radius: float = 0.0


BLOCK_HALF = 0.029
CAN_RADIUS, CAN_HALF = 0.027, 0.032
BALL_RADIUS = 0.029
BOWL_BASE_RADIUS, BOWL_WALL_TILT, BOWL_WALL_HALF = 0.055, 0.45, 0.0205
PLATE_RADIUS, PLATE_HALF = 0.068, 0.003
BOX_HALF, BOX_WALL_HALF = 0.060, 0.017

SHAPES = {
    "block": Shape(radius=0.039, height=2 * BLOCK_HALF, rest_height=BLOCK_HALF),
    "can": Shape(radius=CAN_RADIUS, height=2 * CAN_HALF, rest_height=CAN_HALF),
    "ball": Shape(radius=BALL_RADIUS, height=2 * BALL_RADIUS, rest_height=BALL_RADIUS),
    "bowl": Shape(radius=0.072, height=0.039, floor=0.004, inner_radius=0.046),
    "plate": Shape(radius=PLATE_RADIUS, height=0.006, floor=0.006, inner_radius=0.054),
    "box": Shape(radius=0.078, height=2 * BOX_WALL_HALF, floor=0.004, inner_radius=0.050),
}

# The arm stands at the origin; +x points towards the camera, +y to the right of the image.
UPPER_ARM, FOREARM, HAND, SHOULDER_HEIGHT = 0.25, 0.25, 0.15, 0.15
FINGER_OPEN, FINGER_RELEASE, FINGER_RANGE = 0.045, 0.041, 0.048
"""Half the opening between the fingers: for the approach, for the release, and the largest one."""

DIRECTION_VECTORS = {
    "left": (0.0, -1.0),
    "right": (0.0, 1.0),
    "towards the camera": (1.0, 0.0),
    "away from the camera": (-1.0, 0.0),
}
