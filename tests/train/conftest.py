"""A tiny cache and short loops."""

import pytest

from aid.conditioning.states import choose_state_writer
from aid.config import ConditionConfig
from aid.data.manifest import read_manifest
from aid.prepare import prepare


@pytest.fixture(scope="session")
def cache(tiny_manifest, tiny_backbone, tmp_path_factory):
    """Six videos as the tiny backbone encodes them; do not write into it."""
    out = tmp_path_factory.mktemp("caches") / "train"
    states = choose_state_writer("replay", read_manifest(tiny_manifest))
    prepare(
        tiny_manifest, out, tiny_backbone, condition=ConditionConfig(), num_frames=3, states=states
    )
    return out
