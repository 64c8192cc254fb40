"""Renders MuJoCo scenes off screen with a suitable GL library and one context.

Images are rendered at twice their size and averaged over 2 x 2 pixels. Shadows are slow in software
rendering, so by default each item has a transparent dark disc on the table instead.
"""

import functools
import os
import subprocess
import sys
from types import ModuleType
from typing import TypeVar

import mujoco
import numpy as np
from jaxtyping import UInt8

from aid.tabletop.world.scene import Scene

SUPERSAMPLING = 2
_LIBRARIES = ("egl", "osmesa")
_PROBE = (
    "import mujoco; c = mujoco.GLContext(16, 16); c.make_current(); "
    "mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), 100); print('works')"
)


@functools.cache
def choose_gl_library() -> str:
    """Sets `MUJOCO_GL` to the first GL library that works, and returns its name.

    Each is tested in its own process, because a broken GL driver may crash. If the user has set the
    variable, only that library is tested.

    Raises:
        ValueError: no library works.
    """
    wanted = os.environ.get("MUJOCO_GL", "").strip().lower()
    os.environ.setdefault("LP_NUM_THREADS", "0")
    for library in (wanted,) if wanted else _LIBRARIES:
        environment = {**os.environ, "MUJOCO_GL": library}
        environment.pop("PYOPENGL_PLATFORM", None)
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], env=environment, capture_output=True, text=True
        )
        if "works" in probe.stdout:
            os.environ["MUJOCO_GL"] = library
            return library
    tried = f"MUJOCO_GL={wanted}" if wanted else "EGL and OSMesa"
    raise ValueError(
        f"no GL library can render the table-top (tried {tried}). "
        "Install one: apt-get install libegl1 libgl1-mesa-dri (or: apt-get install libosmesa6)"
        + (", or unset MUJOCO_GL." if wanted else ".")
    )


def _context_module(library: str) -> ModuleType:
    if library == "egl":
        import mujoco.egl as module
    elif library == "osmesa":
        import mujoco.osmesa as module
    else:
        import mujoco.gl_context as module
    return module


class Canvas:
    """Renders square images of several MuJoCo models, one after another, in one GL context.

    Without shadows and reflections, which are slow in software.
    """

    max_geoms = 5000

    def __init__(self, size: int):
        self.size = size
        self.render_size = size * SUPERSAMPLING
        library = choose_gl_library()
        self._gl = _context_module(library).GLContext(self.render_size, self.render_size)
        self._gl.make_current()
        self._viewport = mujoco.MjrRect(0, 0, self.render_size, self.render_size)
        self._pixels = np.empty((self.render_size, self.render_size, 3), np.uint8)
        self.option = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._context: mujoco.MjrContext | None = None
        self._model: mujoco.MjModel | None = None

    def load(self, model: mujoco.MjModel) -> None:
        """Uploads a model, if it is another one; `picture` then renders it."""
        self._gl.make_current()
        if model is self._model:
            return
        if self._context is not None:
            self._context.free()
        self._model = model
        self._scene = mujoco.MjvScene(model, self.max_geoms)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def picture(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> UInt8[np.ndarray, "H W 3"]:
        """The image of a state of the loaded model."""
        mujoco.mjv_updateScene(
            self._model,
            data,
            self.option,
            self._perturbation,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        self._decorate(data)
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._context)
        pixels = self._pixels.reshape(self.size, 2, self.size, 2, 3).astype(np.uint16)
        averaged = (pixels.sum((1, 3)) + 2) >> 2
        return np.ascontiguousarray(averaged[::-1].astype(np.uint8))

    def _decorate(self, data: mujoco.MjData) -> None:
        """Changes the abstract scene before it is rendered."""
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False

    def close(self) -> None:
        """Frees the GL context; the canvas cannot be used afterwards."""
        self._gl.make_current()
        if self._context is not None:
            self._context.free()
            self._context = None
        self._gl.free()


_Kind = TypeVar("_Kind", bound=Canvas)
_kept: dict[tuple[type[Canvas], int], Canvas] = {}


def kept_canvas(kind: type[_Kind], size: int) -> _Kind:
    """The process's canvas of this kind and size: a GL context takes as long as an episode."""
    if (kind, size) not in _kept:
        _kept[kind, size] = kind(size)
    canvas = _kept[kind, size]
    assert isinstance(canvas, kind)
    return canvas


def close_kept_canvases() -> None:
    """Frees them all. At exit it is too late: libraries of other worlds end the display first."""
    while _kept:
        _kept.popitem()[1].close()


class Renderer(Canvas):
    """Renders table-top scenes."""

    max_geoms = 200

    def __init__(self, size: int):
        super().__init__(size)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = 0

    def use(self, scene: Scene, model: mujoco.MjModel, shadows: bool) -> None:
        """Uploads a model, if it is another one; `draw` then renders it."""
        self.load(model)
        self._table_scene = scene
        self._shadows = shadows
        self._bodies = [model.body(f"item{i}").id for i in range(len(scene.items))]
        self._grasp_point = model.site("grasp_point").id
        self._palm = model.body("palm").id

    def draw(self, data: mujoco.MjData) -> UInt8[np.ndarray, "H W 3"]:
        """The image of a state."""
        return self.picture(data, self._camera)

    def _decorate(self, data: mujoco.MjData) -> None:
        if not self._shadows:
            self._add_discs(data)

    def _add_discs(self, data: mujoco.MjData) -> None:
        """Adds a dark disc at the shadow of the centre of each item and of the gripper."""
        for body, item in zip(self._bodies, self._table_scene.items, strict=True):
            x, y, z = data.xpos[body]
            radius = item.size.radius * (1.10 if item.is_container else 1.05)
            middle = z + (item.size.height / 2 if item.is_container else 0.0)
            self._add_disc(x, y, middle, (radius, radius), np.eye(3))
        dressing = self._table_scene.dressing
        for shape in dressing.clutter if dressing else ():
            radii = (shape.half[0] * 1.05, shape.half[0 if shape.shape != "box" else 1] * 1.05)
            self._add_disc(shape.x, shape.y, shape.half[0], radii, np.eye(3))
        x, y, z = data.site_xpos[self._grasp_point]
        across = data.xmat[self._palm].reshape(3, 3)[:, 1]
        turn = np.array([[across[0], -across[1], 0], [across[1], across[0], 0], [0, 0, 1]])
        self._add_disc(x, y, z + 0.03, (0.05, 0.018), turn)

    def _add_disc(
        self, x: float, y: float, z: float, radii: tuple[float, float], turn: np.ndarray
    ) -> None:
        scene = self._table_scene
        light, shade = scene.style.light_direction, 0.32
        if scene.dressing is not None:
            shade = scene.dressing.shade
        place = [x - z * light[0] / light[2], y - z * light[1] / light[2], 0.0012]
        geom = self._scene.geoms[self._scene.ngeom]
        mujoco.mjv_initGeom(
            geom,
            mujoco.mjtGeom.mjGEOM_CYLINDER,
            np.array([radii[0], 0.0004, 0.0]),
            np.array(place),
            turn.flatten(),
            np.array([0.0, 0.0, 0.0, shade], np.float32),
        )
        geom.size[:] = [*radii, 0.0004]  # an ellipse, which mjv_initGeom does not support
        geom.transparent = 1
        geom.specular = geom.reflectance = geom.shininess = 0
        self._scene.ngeom += 1
