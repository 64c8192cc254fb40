"""The MJCF of a `Dressing`: textured table and wall, light, clutter, and the visible arm.

The arm that collides is the standard one, made invisible; what is seen has no mass and touches
nothing.
"""

import math

from aid.tabletop.world.dressing import Clutter, Colour, Dressing, Surface
from aid.tabletop.world.shapes import FOREARM, UPPER_ARM
from aid.tabletop.world.textures import texture_png

_GHOST = 'contype="0" conaffinity="0" mass="0"'


def texture_files(dressing: Dressing) -> dict[str, bytes]:
    """The PNG files that `assets_mjcf` names."""
    return {f"{name}.png": _png(surface) for name, surface in _surfaces(dressing).items()}


def _surfaces(dressing: Dressing) -> dict[str, Surface]:
    return {"table": dressing.table, "wall": dressing.wall}


def _png(surface: Surface) -> bytes:
    return texture_png(surface.texture, surface.colours, surface.seed)


def assets_mjcf(dressing: Dressing) -> str:
    """Textures and materials: "table", "wall" and "item0", "item1", ..."""
    surfaces = [
        f'<texture name="{name}" type="2d" file="{name}.png"/>'
        f'<material name="{name}" texture="{name}" specular="0" shininess="0" '
        f'texrepeat="{surface.repeats:.4f} {surface.repeats:.4f}"/>'
        for name, surface in _surfaces(dressing).items()
    ]
    return "\n  ".join(surfaces)


def item_material(dressing: Dressing, index: int, rgb: Colour) -> str:
    """The texture and the material "item<index>" of an item of the colour `rgb`."""
    pattern, second = dressing.item_patterns[index], dressing.item_second_colours[index]
    return (
        f'<texture name="item{index}" type="cube" builtin="{pattern}" width="32" height="32" '
        f'rgb1="{_text(rgb)}" rgb2="{_text(second)}"/>'
        f'<material name="item{index}" texture="item{index}" specular="{dressing.gloss:.4f}" '
        f'shininess="{dressing.gloss:.4f}"/>'
    )


def surroundings_mjcf(dressing: Dressing) -> str:
    """Table, wall, second light and clutter."""
    half_x, half_y = dressing.table_half
    light = (
        f'<light directional="true" dir="{_text(dressing.second_direction)}" castshadow="false" '
        f'diffuse="{_text([dressing.second_light] * 3)}" specular="0 0 0"/>'
    )
    return "\n  ".join(
        [
            f'<geom type="box" size="{half_x:.4f} {half_y:.4f} .02" pos=".25 0 -.02" '
            f'material="table" contype="0" conaffinity="0"/>',
            f'<geom type="box" size="1.5 1.5 .01" pos="{dressing.wall_x:.4f} 0 .2" '
            f'euler="0 {math.pi / 2:.6f} 0" material="wall" contype="0" conaffinity="0"/>',
            light if dressing.second_light else "",
            *(_clutter(shape) for shape in dressing.clutter),
        ]
    )


def _clutter(shape: Clutter) -> str:
    height = shape.half[2]
    if shape.shape == "sphere":
        height = shape.half[0]
    elif shape.shape == "capsule":
        height = shape.half[0] + shape.half[1]
    return (
        f'<geom type="{shape.shape}" size="{_text(shape.half)}" '
        f'pos="{shape.x:.4f} {shape.y:.4f} {height:.4f}" euler="0 0 {shape.yaw:.4f}" '
        f'rgba="{_text(shape.rgb)} 1" contype="0" conaffinity="0"/>'
    )


def arm_parts(dressing: Dressing) -> dict[str, str]:
    """For each body of the arm ("base", "turret", ...) the geoms that are seen."""
    arm = dressing.arm
    wide = arm.thickness
    links = {
        "upper_arm": _link(arm.link_shape, UPPER_ARM, 0.024 * wide, arm.links[0]),
        "forearm": _link(arm.link_shape, FOREARM, 0.019 * wide, arm.links[1]),
        "wrist": _link(arm.link_shape, 0.04, 0.017 * wide, arm.joints),
    }
    if arm.has_joint_balls:
        links["upper_arm"] += _ball(0.034 * wide, arm.joints)
        links["forearm"] += _ball(0.029 * wide, arm.joints)
        links["wrist"] += _ball(0.024 * wide, arm.joints)
    base = f'type="cylinder" size="{0.055 * wide:.4f} .045" pos="-.01 0 .045"'
    turret = f'type="cylinder" size="{0.04 * wide:.4f} .05" pos="0 0 -.03"'
    palm = f'type="box" size=".013 .050 {0.016 * wide:.4f}" pos=".022 0 0"'
    return links | {
        "base": _geom(base, arm.base),
        "turret": _geom(turret, arm.joints),
        "palm": _geom(palm, arm.joints),
        "left_finger": _finger(dressing, 1),
        "right_finger": _finger(dressing, -1),
    }


def _link(shape: str, length: float, half: float, rgb: Colour) -> str:
    if shape == "box":
        return _geom(
            f'type="box" size="{length / 2:.4f} {half:.4f} {half:.4f}" pos="{length / 2:.4f} 0 0"',
            rgb,
        )
    return _geom(f'type="{shape}" size="{half:.4f}" fromto="0 0 0 {length} 0 0"', rgb)


def _ball(radius: float, rgb: Colour) -> str:
    return _geom(f'type="sphere" size="{radius:.4f}"', rgb)


def _finger(dressing: Dressing, side: int) -> str:
    """As long as the finger that grips, and flush with its inner side."""
    arm, inner = dressing.arm, side * 0.0055
    if arm.finger_shape == "capsule":
        shapes = [f'type="capsule" size=".0065" fromto="0 {inner} 0 .0715 {inner} 0"']
    elif arm.finger_shape == "ellipsoid":
        shapes = [f'type="ellipsoid" size=".041 .0060 .015" pos=".039 {inner} 0"']
    elif arm.finger_shape == "tapered":
        shapes = [
            f'type="box" size=".018 .0085 .014" pos=".018 {side * 0.0085} 0"',
            f'type="box" size=".021 .0050 .009" pos=".057 {side * 0.0050} 0"',
        ]
    else:
        shapes = [f'type="box" size=".039 .0055 .012" pos=".039 {inner} 0"']
    tip = f'type="box" size=".009 .0058 .0124" pos=".0695 {inner} 0"'
    return "".join(_geom(shape, arm.fingers) for shape in shapes) + _geom(tip, arm.tips)


def _geom(shape: str, rgb: Colour) -> str:
    return f'<geom {_GHOST} {shape} rgba="{_text(rgb)} 1"/>'


def _text(numbers: object) -> str:
    return " ".join(f"{number:.6f}" for number in numbers)
