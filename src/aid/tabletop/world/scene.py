"""Samples a table-top scene from a seed: the items, their positions, the colours, the camera.

Pure numpy; a seed gives the same scene on every machine. `mjcf` converts it to a MuJoCo model.
"""

import colorsys
import math
from dataclasses import dataclass

import numpy as np

from aid.tabletop.language import COLOURS, CONTAINERS, OBJECTS
from aid.tabletop.world.dressing import Dressing, sample_dressing
from aid.tabletop.world.shapes import SHAPES, Shape

PAINT = {
    "red": (0.86, 0.06, 0.06),
    "green": (0.07, 0.62, 0.14),
    "blue": (0.08, 0.22, 0.92),
    "yellow": (0.96, 0.86, 0.08),
    "purple": (0.52, 0.10, 0.70),
    "orange": (1.00, 0.46, 0.02),
}
TABLES = (
    (0.62, 0.56, 0.48),
    (0.72, 0.68, 0.62),
    (0.46, 0.48, 0.50),
    (0.52, 0.44, 0.36),
    (0.60, 0.60, 0.60),
    (0.48, 0.53, 0.60),
)
"""Greys, beiges, browns and blue-greys of low saturation, so that only items are saturated."""

WORK_AREA = ((0.205, 0.400), (-0.148, 0.148))
"""Range of the items' centres: (x from, to), (y from, to), in metres."""
STANDARD_COUNTS = ((2, 1), (2, 2), (3, 1))
"""Possible numbers of objects and containers in a standard scene."""
SHARED_COLOUR_SHARE = 0.2
PLAY_STANDARD_SHARE = 1 / 3
_LOOK_AT = (0.225, 0.0, 0.03)
_OBJECT_SHARES = (0.50, 0.30, 0.20)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item on the table. `yaw` is its rotation about the vertical axis, in radians."""

    colour: str
    shape: str
    rgb: tuple[float, float, float]
    x: float
    y: float
    yaw: float

    @property
    def name(self) -> str:
        """Its name in instructions."""
        return f"{self.colour} {self.shape}"

    @property
    def is_container(self) -> bool:
        """Whether objects can be put in or on it."""
        return self.shape in CONTAINERS

    @property
    def size(self) -> Shape:
        """The size of its shape."""
        return SHAPES[self.shape]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera. The rows of `axes` are its right, its up and its backward direction."""

    position: tuple[float, float, float]
    axes: tuple[tuple[float, float, float], ...]
    fovy: float


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colours of table and wall, the table's speckles, direction and strength of the light."""

    table: tuple[float, float, float]
    speckle: tuple[float, float, float]
    speckle_share: float
    wall: tuple[float, float, float]
    light_direction: tuple[float, float, float]
    light: float
    ambient: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All contents of a first frame. `look` is "standard" or "play"."""

    seed: int
    look: str
    items: tuple[Item, ...]
    camera: Camera
    style: Style
    home: tuple[float, float, float, float]
    """Rest pose of the gripper: x, y, z of the grasp point and the roll of the hand."""
    dressing: Dressing | None = None
    """Textures, clutter and another arm of the look "play"."""

    @property
    def objects(self) -> list[int]:
        """Indices of the items that the arm can move."""
        return [i for i, item in enumerate(self.items) if not item.is_container]

    @property
    def containers(self) -> list[int]:
        """Indices of bowls, plates and boxes."""
        return [i for i, item in enumerate(self.items) if item.is_container]


def sample_scene(seed: int, *, play: bool = False) -> Scene:
    """The scene of a seed.

    Args:
        seed: any number that is not negative.
        play: whether to sample an unlabelled scene, with a larger variety of items, colours,
            cameras and lights; a third of them have the standard look.
    """
    random = np.random.default_rng([7301, seed])
    look = "play" if play and random.random() >= PLAY_STANDARD_SHARE else "standard"
    items = None
    while items is None:
        items = _sample_items(random, play=play, any_hue=look == "play")
    is_varied = look == "play"
    return Scene(
        seed=seed,
        look=look,
        items=items,
        camera=_varied_camera(random) if is_varied else _standard_camera(random),
        style=_sample_style(random, varied=is_varied),
        home=(
            random.uniform(0.138, 0.146),
            random.uniform(-0.006, 0.006),
            random.uniform(0.148, 0.156),
            random.uniform(-0.05, 0.05),
        ),
        dressing=sample_dressing(seed, len(items)) if is_varied else None,
    )


def _sample_items(
    random: np.random.Generator, *, play: bool, any_hue: bool
) -> tuple[Item, ...] | None:
    """Items that do not touch; None if this sample does not fit on the table."""
    if play:
        num_objects, num_containers = int(random.integers(1, 5)), int(random.integers(0, 4))
    else:
        num_objects, num_containers = STANDARD_COUNTS[random.integers(len(STANDARD_COUNTS))]
    colours = [str(colour) for colour in random.permutation(COLOURS)]
    container_colours = [colours.pop() for _ in range(num_containers)]
    object_colours = [colours[i % len(colours)] for i in range(num_objects)]
    shapes = [str(s) for s in random.choice(OBJECTS, num_objects, p=_OBJECT_SHARES)]
    if num_objects > 1 and random.random() < SHARED_COLOUR_SHARE:
        object_colours[1] = object_colours[0]
        shapes[:2] = [str(s) for s in random.permutation(OBJECTS)[:2]]
    containers = [str(s) for s in random.choice(CONTAINERS, num_containers)]
    placed: list[Item] = []
    for colour, shape in [
        *zip(container_colours, containers, strict=True),
        *zip(object_colours, shapes, strict=True),
    ]:
        position = _free_place(random, shape, placed)
        if position is None:
            return None
        rgb = tuple(np.clip(np.array(PAINT[colour]) + random.uniform(-0.03, 0.03, 3), 0, 1))
        if any_hue:
            colour, rgb = _any_colour(random)
        yaw = random.uniform(-math.pi, math.pi)
        x, y = position
        placed.append(Item(colour=colour, shape=shape, rgb=_floats(rgb), x=x, y=y, yaw=yaw))
    if not any_hue and len({item.name for item in placed}) < len(placed):
        return None
    return tuple(placed)


def _free_place(
    random: np.random.Generator, shape: str, placed: list[Item]
) -> tuple[float, float] | None:
    inset = 0.018 if shape in CONTAINERS else 0.0
    for _ in range(60):
        x, y = (float(random.uniform(low + inset, high - inset)) for low, high in WORK_AREA)
        if all(
            math.hypot(x - other.x, y - other.y)
            > SHAPES[shape].radius
            + other.size.radius
            + (0.010 if shape in CONTAINERS and other.is_container else 0.034)
            for other in placed
        ):
            return x, y
    return None


def _any_colour(random: np.random.Generator) -> tuple[str, tuple[float, ...]]:
    """A colour of any hue, often a saturated one, and the name of the nearest paint."""
    is_dull = random.random() < 0.25
    rgb = colorsys.hsv_to_rgb(
        random.uniform(0, 1),
        random.uniform(0.0, 0.5) if is_dull else random.uniform(0.5, 1.0),
        random.uniform(0.1, 1.0) if is_dull else random.uniform(0.45, 1.0),
    )
    nearest = min(PAINT, key=lambda name: float(np.linalg.norm(np.subtract(PAINT[name], rgb))))
    return nearest, rgb


def _standard_camera(random: np.random.Generator) -> Camera:
    azimuth = random.uniform(-0.10, 0.10)
    elevation = random.uniform(0.89, 0.95)
    view_width = random.uniform(0.512, 0.522)
    distance = random.uniform(1.58, 1.62)
    return _camera(np.array(_LOOK_AT), azimuth, elevation, distance, view_width)


def _varied_camera(random: np.random.Generator) -> Camera:
    """A camera from any side but the arm's, near or far, that sees all places of items."""
    look_at = np.array(_LOOK_AT) + random.uniform(-1, 1, 3) * (0.05, 0.04, 0.04)
    azimuth = random.uniform(-1.1, 1.1)
    elevation = random.uniform(0.50, 1.30)
    distance = random.uniform(0.75, 2.2)
    camera = _camera(look_at, azimuth, elevation, distance, 1.0)
    corners = np.array([(x, y, z) for x in WORK_AREA[0] for y in WORK_AREA[1] for z in (0.0, 0.06)])
    right, up, backward = ((corners - camera.position) @ np.array(camera.axes).T).T
    reach = float(np.max(np.abs([right, up]) / -backward))
    half_width = distance * reach * random.uniform(1.12, 1.45)
    return _camera(look_at, azimuth, elevation, distance, 2 * half_width)


def _camera(
    look_at: np.ndarray, azimuth: float, elevation: float, distance: float, view_width: float
) -> Camera:
    """A camera that looks at a point; `view_width` is what it sees there, in metres."""
    backward = np.array(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ]
    )
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    return Camera(
        position=_floats(look_at + distance * backward),
        axes=(_floats(right), _floats(up), _floats(backward)),
        fovy=float(2 * math.degrees(math.atan(view_width / 2 / distance))),
    )


def _sample_style(random: np.random.Generator, *, varied: bool) -> Style:
    if varied:
        table = np.array(
            colorsys.hsv_to_rgb(
                random.uniform(0, 1), random.uniform(0, 0.35), random.uniform(0.3, 0.85)
            )
        )
        light, ambient = random.uniform(0.25, 0.85), random.uniform(0.2, 0.6)
    else:
        table = np.array(TABLES[random.integers(len(TABLES))]) + random.uniform(-0.03, 0.03, 3)
        light, ambient = random.uniform(0.52, 0.60), random.uniform(0.38, 0.44)
    spread = 1.5 if varied else 0.6
    direction = np.array([random.uniform(-0.5, 0.1), random.uniform(-0.6, 0.6), -1.0])
    direction[:2] *= spread
    return Style(
        table=_floats(np.clip(table, 0, 1)),
        speckle=_floats(np.clip(table * random.uniform(0.80, 0.92), 0, 1)),
        speckle_share=float(random.uniform(0.0, 0.25 if varied else 0.10)),
        wall=_floats(np.full(3, random.uniform(0.35, 0.7)) + random.uniform(-0.03, 0.03, 3)),
        light_direction=_floats(direction / np.linalg.norm(direction)),
        light=float(light),
        ambient=float(ambient),
    )


def _floats(values: np.ndarray | tuple[float, ...]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
