"""Two videos a file, so that six videos have several; and a cache of six."""

from contextlib import contextmanager

import pytest
from prepared import make

from aid.prepare import cache_folder as cache_folder_module
from aid.prepare import run as run_module


@contextmanager
def small_shards():
    with pytest.MonkeyPatch.context() as patch:
        for module in (run_module, cache_folder_module):
            patch.setattr(module, "SHARD", 2)
        yield


@pytest.fixture(autouse=True, scope="module")
def _small_shards():
    with small_shards():
        yield


@pytest.fixture(scope="session")
def finished(tiny_manifest, tiny_backbone, tmp_path_factory):
    """A cache of the six videos; do not write into it."""
    out = tmp_path_factory.mktemp("caches") / "grey"
    with small_shards():
        make(tiny_manifest, out, tiny_backbone)
    return out
