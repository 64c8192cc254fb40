"""Converts a `Scene` to a MuJoCo model description (MJCF).

The arm has five position-controlled joints and two force-limited fingers. Items are free bodies
that only friction holds; nothing is welded or moved without contact.
"""

import math
from collections.abc import Iterable

import numpy as np

from aid.tabletop.world.dressing_mjcf import (
    arm_parts,
    assets_mjcf,
    item_material,
    surroundings_mjcf,
    texture_files,
)
from aid.tabletop.world.scene import Item, Scene, Style
from aid.tabletop.world.shapes import (
    BALL_RADIUS,
    BLOCK_HALF,
    BOWL_BASE_RADIUS,
    BOWL_WALL_HALF,
    BOWL_WALL_TILT,
    BOX_HALF,
    BOX_WALL_HALF,
    CAN_HALF,
    CAN_RADIUS,
    FINGER_RANGE,
    FOREARM,
    HAND,
    PLATE_HALF,
    PLATE_RADIUS,
    SHOULDER_HEIGHT,
    UPPER_ARM,
)

TIMESTEP = 0.005
_BOWL_WALLS = 10
_SHADOW_MAP = 512


def scene_mjcf(scene: Scene, *, render_size: int, shadows: bool) -> str:
    """The MJCF text of a scene.

    Args:
        scene: the scene.
        render_size: width and height of the rendered image, in pixels.
        shadows: whether the light casts shadows (several times slower).
    """
    style, camera, dressing = scene.style, scene.camera, scene.dressing
    paints = [f'rgba="{_text(item.rgb)} 1"' for item in scene.items]
    if dressing is None:
        assets, table, arm = _standard_assets(style), _STANDARD_TABLE, _arm(_TOUCH, {})
        light_colour = (1.0, 1.0, 1.0)
    else:
        materials = [item_material(dressing, i, item.rgb) for i, item in enumerate(scene.items)]
        assets = "\n  ".join([assets_mjcf(dressing), *materials])
        table, arm = surroundings_mjcf(dressing), _arm(_INVISIBLE, arm_parts(dressing))
        light_colour = dressing.light_colour
        paints = [f'material="item{index}"' for index in range(len(scene.items))]
    items = "".join(
        _item_body(index, item, paints[index]) for index, item in enumerate(scene.items)
    )
    return f"""<mujoco>
<compiler angle="radian" autolimits="true"/>
<option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="10"/>
<visual>
  <global offwidth="{render_size}" offheight="{render_size}"/>
  <quality shadowsize="{_SHADOW_MAP}" offsamples="0" numslices="14" numstacks="8" numquads="1"/>
  <map znear=".05" zfar="20" shadowclip=".6"/>
  <headlight ambient="{_text([style.ambient] * 3)}" diffuse=".2 .2 .2" specular="0 0 0"/>
</visual>
<asset>
  <texture name="sky" type="skybox" builtin="flat" width="8" height="48"
    rgb1="{_text(style.wall)}" rgb2="{_text(style.wall)}"/>
  {assets}
</asset>
<default>
  <geom condim="4" friction="1 .01 .001" contype="1" conaffinity="3"/>
  <joint damping="1" armature=".02"/>
  <position dampratio="1"/>
</default>
<worldbody>
  <light directional="true" pos="0 0 2" dir="{_text(style.light_direction)}"
    diffuse="{_text(style.light * np.array(light_colour))}" specular=".15 .15 .15"
    castshadow="{str(shadows).lower()}"/>
  <camera name="camera" mode="fixed" pos="{_text(camera.position)}"
    xyaxes="{_text(camera.axes[0])} {_text(camera.axes[1])}" fovy="{camera.fovy:.6f}"/>
  <geom name="ground" type="plane" size="2 2 .1" group="4"/>
  {table}
  {arm}
  {items}
</worldbody>
<actuator>
  <position joint="yaw" kp="160"/><position joint="shoulder" kp="320"/>
  <position joint="elbow" kp="200"/><position joint="wrist" kp="60"/>
  <position joint="roll" kp="20"/>
  <position joint="left_finger" kp="500" forcerange="-12 12"/>
  <position joint="right_finger" kp="500" forcerange="-12 12"/>
</actuator>
</mujoco>"""


def scene_files(scene: Scene) -> dict[str, bytes]:
    """The files that the MJCF text of a scene names."""
    return {} if scene.dressing is None else texture_files(scene.dressing)


_STANDARD_TABLE = (
    '<geom type="box" size=".6 .7 .02" pos=".25 0 -.02" material="table" contype="0" '
    'conaffinity="0"/>'
)


def _standard_assets(style: Style) -> str:
    return f"""<texture name="table" type="2d" builtin="flat" width="256" height="256" mark="random"
    random="{style.speckle_share:.3f}" rgb1="{_text(style.table)}" rgb2="{_text(style.table)}"
    markrgb="{_text(style.speckle)}"/>
  <material name="table" texture="table" texrepeat="1 1" specular="0" shininess="0"/>"""


_TOUCH = 'contype="2" conaffinity="1"'
"""Parts of the arm collide with items and the table, but not with each other."""
_INVISIBLE = f'{_TOUCH} group="4"'


def _finger(name: str, side: int, touch: str, seen: str) -> str:
    return f"""<body name="{name}" pos=".036 0 0" gravcomp="1">
  <joint name="{name}" type="slide" axis="0 {side} 0" range="0 {FINGER_RANGE}" armature=".05"
    damping="5"/>
  <geom name="{name}" {touch} type="box" size=".039 .0055 .012" pos=".039 {side * 0.0055} 0"
    mass=".03" friction="1.6 .02 .002" rgba=".32 .32 .35 1"/>{seen}
</body>"""


def _arm(touch: str, seen: dict[str, str]) -> str:
    """The arm.

    Args:
        touch: attributes of the shapes that collide.
        seen: for each body, further shapes.
    """

    def more(body: str) -> str:
        return seen.get(body, "")

    return f"""<body name="base">
<geom {touch} type="cylinder" size=".055 .045" pos="-.01 0 .045" rgba=".16 .16 .18 1"/>
{more("base")}
<body name="turret" pos="0 0 {SHOULDER_HEIGHT}" gravcomp="1">
<joint name="yaw" axis="0 0 1"/>
<geom {touch} type="cylinder" size=".04 .05" pos="0 0 -.03" mass=".5" rgba=".25 .25 .28 1"/>
{more("turret")}
<body name="upper_arm" gravcomp="1"><joint name="shoulder" axis="0 -1 0"/>
<geom {touch} type="capsule" size=".024" fromto="0 0 0 {UPPER_ARM} 0 0" mass=".4"
  rgba=".2 .2 .22 1"/>
{more("upper_arm")}
<body name="forearm" pos="{UPPER_ARM} 0 0" gravcomp="1"><joint name="elbow" axis="0 -1 0"/>
<geom {touch} type="capsule" size=".019" fromto="0 0 0 {FOREARM} 0 0" mass=".3"
  rgba=".62 .62 .66 1"/>
{more("forearm")}
<body name="wrist" pos="{FOREARM} 0 0" gravcomp="1"><joint name="wrist" axis="0 -1 0"/>
<geom {touch} type="capsule" size=".017" fromto="0 0 0 .04 0 0" mass=".1" rgba=".2 .2 .22 1"/>
{more("wrist")}
<body name="palm" pos=".05 0 0" gravcomp="1"><joint name="roll" axis="1 0 0" armature=".005"/>
<geom {touch} type="box" size=".013 .050 .016" pos=".022 0 0" mass=".1" rgba=".12 .12 .13 1"/>
{more("palm")}
<site name="grasp_point" pos="{HAND - 0.05} 0 0" size=".002" rgba="0 0 0 0"/>
{_finger("left_finger", 1, touch, more("left_finger"))}
{_finger("right_finger", -1, touch, more("right_finger"))}
</body></body></body></body></body></body>"""


def _item_body(index: int, item: Item, paint: str) -> str:
    height = item.size.rest_height + 0.0003
    return (
        f'<body name="item{index}" pos="{item.x:.5f} {item.y:.5f} {height:.5f}" '
        f'euler="0 0 {item.yaw:.5f}"><freejoint/>{"".join(_geoms(item, paint))}</body>\n'
    )


def _geoms(item: Item, paint: str) -> list[str]:
    inside = f'rgba="{_text(np.clip(np.array(item.rgb) * 0.72, 0, 1))} 1"'
    if item.shape == "block":
        return [f'<geom type="box" size="{_text([BLOCK_HALF] * 3)}" density="500" {paint}/>']
    if item.shape == "can":
        return [f'<geom type="cylinder" size="{CAN_RADIUS} {CAN_HALF}" density="500" {paint}/>']
    if item.shape == "ball":
        return [
            f'<geom type="sphere" size="{BALL_RADIUS}" density="500" condim="6" '
            f'friction="1 .02 .004" {paint}/>'
        ]
    if item.shape == "plate":
        return [
            f'<geom type="cylinder" size="{PLATE_RADIUS} {PLATE_HALF}" pos="0 0 {PLATE_HALF}" '
            f'density="2500" {paint}/>',
            f'<geom type="cylinder" size=".048 .0005" pos="0 0 {2 * PLATE_HALF + 0.0002}" '
            f'contype="0" conaffinity="0" mass="0" {inside}/>',
        ]
    if item.shape == "box":
        return [_box_floor(inside), *_box_walls(paint)]
    return [
        f'<geom type="cylinder" size="{BOWL_BASE_RADIUS} .002" pos="0 0 .002" density="4000" '
        f"{inside}/>",
        *_bowl_walls(paint),
    ]


def _box_floor(paint: str) -> str:
    size = f"{BOX_HALF} {BOX_HALF} .002"
    return f'<geom type="box" size="{size}" pos="0 0 .002" density="3000" {paint}/>'


def _box_walls(paint: str) -> list[str]:
    long, thin = BOX_HALF + 0.003, 0.003
    return [
        f'<geom type="box" size="{thin if x else long} {thin if y else long} {BOX_WALL_HALF}" '
        f'pos="{x * BOX_HALF} {y * BOX_HALF} {BOX_WALL_HALF}" density="900" {paint}/>'
        for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ]


def _bowl_walls(paint: str) -> list[str]:
    """A ring of flat boards that are tilted outwards."""
    walls = []
    half_width = (BOWL_BASE_RADIUS + 2 * BOWL_WALL_HALF * math.sin(BOWL_WALL_TILT)) * math.tan(
        math.pi / _BOWL_WALLS
    )
    for angle in np.arange(_BOWL_WALLS) * 2 * math.pi / _BOWL_WALLS:
        outward = np.array([math.cos(angle), math.sin(angle), 0.0])
        along = np.array([-math.sin(angle), math.cos(angle), 0.0])
        rising = math.sin(BOWL_WALL_TILT) * outward + [0, 0, math.cos(BOWL_WALL_TILT)]
        centre = (BOWL_BASE_RADIUS - 0.001) * outward + [0, 0, 0.002] + rising * BOWL_WALL_HALF
        walls.append(
            f'<geom type="box" size=".0028 {half_width:.5f} {BOWL_WALL_HALF}" '
            f'pos="{_text(centre)}" xyaxes="{_text(np.cross(along, rising))} {_text(along)}" '
            f'density="1200" {paint}/>'
        )
    return walls


def _text(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:.6f}" for number in numbers)
