"""Samples what is around the items in scenes of the look "play": surfaces, light, clutter, arm.

Only pretraining sees these scenes. What is sampled here is drawn and touches nothing, so the arm
does the same in every dressing.
"""

import colorsys
import math
from dataclasses import dataclass

import numpy as np

from aid.tabletop.world.textures import TEXTURES

Colour = tuple[float, float, float]
CLUTTER_SHAPES = ("box", "cylinder", "sphere", "ellipsoid", "capsule")
LINK_SHAPES = ("capsule", "box", "cylinder")
FINGER_SHAPES = ("box", "capsule", "ellipsoid", "tapered")
ITEM_PATTERNS = ("flat", "checker", "gradient")
ITEM_PATTERN_SHARES = (0.7, 0.15, 0.15)
_NO_CLUTTER = ((-0.10, 0.45), (-0.19, 0.19))
"""Where the arm and the items move: (x from, to), (y from, to), in metres."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A texture of `textures.TEXTURES` in two colours; `seed` draws its pattern."""

    texture: str
    colours: tuple[Colour, Colour]
    repeats: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Clutter:
    """A shape that stands on the table. `half` are half its extents, in metres."""

    shape: str
    half: tuple[float, float, float]
    x: float
    y: float
    yaw: float
    rgb: Colour


@dataclass(frozen=True, kw_only=True)
class ArmLook:
    """Colours and shapes of the visible arm; `thickness` is a factor of the standard arm's."""

    base: Colour
    links: tuple[Colour, Colour]
    joints: Colour
    fingers: Colour
    tips: Colour
    link_shape: str
    finger_shape: str
    thickness: float
    has_joint_balls: bool


@dataclass(frozen=True, kw_only=True)
class Dressing:
    """The surroundings of one scene; `table_half` and `wall_x` are in metres."""

    table: Surface
    wall: Surface
    table_half: tuple[float, float]
    wall_x: float
    light_colour: Colour
    second_light: float
    second_direction: Colour
    shade: float
    """Opacity of the dark discs under the items."""
    gloss: float
    item_patterns: tuple[str, ...]
    """For each item one of `ITEM_PATTERNS`."""
    item_second_colours: tuple[Colour, ...]
    arm: ArmLook
    clutter: tuple[Clutter, ...]


def sample_dressing(seed: int, num_items: int) -> Dressing:
    """The dressing of the scene of a seed."""
    random = np.random.default_rng([7302, seed])
    table_half = (float(random.uniform(0.40, 0.60)), float(random.uniform(0.34, 0.70)))
    warm = random.uniform(-0.15, 0.15)
    return Dressing(
        table=_surface(random, dull=random.random() < 0.7),
        wall=_surface(random, dull=random.random() < 0.5),
        table_half=table_half,
        wall_x=float(random.uniform(-0.9, -0.25)),
        light_colour=_clip(np.array([1 + warm, 1.0, 1 - warm]) + random.normal(0, 0.03, 3), 1.2),
        second_light=float(random.choice([0.0, random.uniform(0.05, 0.3)])),
        second_direction=_clip([*random.uniform(-1, 1, 2), -1.0], 1.0),
        shade=float(random.uniform(0.08, 0.42)),
        gloss=float(random.choice([0.0, random.uniform(0.1, 0.8)])),
        item_patterns=tuple(
            str(pattern)
            for pattern in random.choice(ITEM_PATTERNS, num_items, p=ITEM_PATTERN_SHARES)
        ),
        item_second_colours=tuple(_colour(random, dull=False) for _ in range(num_items)),
        arm=_arm(random),
        clutter=_clutter(random, table_half),
    )


def _surface(random: np.random.Generator, *, dull: bool) -> Surface:
    first, second = _colour(random, dull=dull), _colour(random, dull=dull)
    contrast = random.uniform(0.1, 1.0)
    return Surface(
        texture=str(random.choice(TEXTURES)),
        colours=(first, _clip(np.array(first) + contrast * (np.array(second) - first), 1.0)),
        repeats=float(random.uniform(0.7, 3.0)),
        seed=int(random.integers(2**31)),
    )


def _arm(random: np.random.Generator) -> ArmLook:
    def paint() -> Colour:
        if random.random() < 0.6:  # metal or plastic: nearly grey
            return _clip(random.uniform(0.08, 0.92) + random.normal(0, 0.02, 3), 1.0)
        return _colour(random, dull=False)

    first = paint()
    return ArmLook(
        base=paint(),
        links=(first, first if random.random() < 0.5 else paint()),
        joints=paint(),
        fingers=paint(),
        tips=paint(),
        link_shape=str(random.choice(LINK_SHAPES)),
        finger_shape=str(random.choice(FINGER_SHAPES)),
        thickness=float(random.uniform(0.7, 1.6)),
        has_joint_balls=bool(random.random() < 0.5),
    )


def _clutter(random: np.random.Generator, table_half: tuple[float, float]) -> tuple[Clutter, ...]:
    """Shapes beside and behind the items, and low ones before them."""
    found: list[Clutter] = []
    for _ in range(int(random.integers(0, 25))):
        half = [float(value) for value in random.uniform(0.008, 0.045, 3)]
        x = float(random.uniform(max(-0.25, 0.28 - table_half[0]), min(0.55, 0.22 + table_half[0])))
        y = float(random.uniform(-1, 1) * min(0.38, table_half[1] - 0.03))
        shape, yaw = str(random.choice(CLUTTER_SHAPES)), float(random.uniform(-math.pi, math.pi))
        rgb = _colour(random, dull=random.random() < 0.5)
        (x_from, x_to), (y_from, y_to) = _NO_CLUTTER
        reach = max(half[:2])
        if x_from - reach < x < x_to + reach and y_from - reach < y < y_to + reach:
            continue
        if x > x_to:
            half = [min(value, 0.02) for value in half]
        found.append(Clutter(shape=shape, half=_clip(half, 1.0), x=x, y=y, yaw=yaw, rgb=rgb))
    return tuple(found)


def _colour(random: np.random.Generator, *, dull: bool) -> Colour:
    saturation = random.uniform(0.0, 0.35) if dull else random.uniform(0.3, 1.0)
    return colorsys.hsv_to_rgb(
        float(random.uniform(0, 1)), float(saturation), float(random.uniform(0.25, 1.0))
    )


def _clip(values: object, most: float) -> Colour:
    first, second, third = (float(v) for v in np.clip(np.asarray(values, float), -1.0, most))
    return first, second, third
