"""Worlds that others made, for pretraining a backbone that has seen more than one table."""

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, kw_only=True)
class OtherWorld:
    """Where the videos of a split come from.

    `module` has a function `play(seed, size, num_frames)`, which returns the windows of a rollout.
    `package` is what it needs, `about` and `licence` are for the data card.
    """

    name: str
    module: str
    package: str
    licence: str
    about: str

    def check_installed(self) -> None:
        """Raises a ValueError if the package of the world is missing."""
        if find_spec(self.package) is None:
            raise ValueError(
                f"the split {self.name!r} needs {self.package}, which is not installed. "
                "Install it: pip install 'aid-video[worlds]'"
            )


OTHER_WORLDS = {
    world.name: world
    for world in (
        OtherWorld(
            name="ogbench",
            module="aid.tabletop.other_worlds.ogbench",
            package="ogbench",
            licence="mit",
            about="OGBench's UR5e (https://github.com/seohongpark/ogbench), moved by its oracles",
        ),
        OtherWorld(
            name="fetch",
            module="aid.tabletop.other_worlds.fetch",
            package="gymnasium_robotics",
            licence="mit",
            about="Gymnasium-Robotics' Fetch (https://robotics.farama.org), moved by our script",
        ),
    )
}
