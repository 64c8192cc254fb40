import pytest

pytest.importorskip(
    "mujoco", reason="the table-top needs mujoco: pip install 'aid-video[tabletop]'"
)


@pytest.fixture(autouse=True)
def _gl(request):
    """Skips tests that render where no GL library works."""
    if request.node.get_closest_marker("gl") is None:
        return
    from aid.tabletop.world.render import choose_gl_library

    try:
        choose_gl_library()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def renderer():
    from aid.tabletop.world.render import Renderer, choose_gl_library

    try:
        choose_gl_library()
    except ValueError as error:
        pytest.skip(str(error))
    renderer = Renderer(64)
    yield renderer
    renderer.close()
