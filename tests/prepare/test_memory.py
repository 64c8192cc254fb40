"""What `prepare` holds in memory does not grow with the data set."""

import time
from dataclasses import replace

import torch
from memory_use import begin_anew, resident
from prepared import GREY

from aid.conditioning.states import choose_state_writer
from aid.data.cache import Cache
from aid.data.frames import Frames
from aid.data.manifest import read_manifest
from aid.data.shards import SHARD
from aid.models.backbone import Backbone
from aid.prepare import cache_folder as cache_folder_module
from aid.prepare import prepare, videos
from aid.prepare import run as run_module

NUM_ROWS = 10_000


def test_ten_thousand_rows_take_no_more_memory_than_some_hundred(
    tiny_manifest, tiny_backbone, tmp_path, monkeypatch
):
    """Decoding is instant here and encoding is not, so everything would pile up that can.

    All frames together have 1.5 GB. The bound leaves room for blocks that glibc keeps when they
    are freed: 80 to 120 MB whatever the number of rows, 12 MB where it gives them back.
    """
    for module in (run_module, cache_folder_module):
        monkeypatch.setattr(module, "SHARD", SHARD)
    row = replace(read_manifest(tiny_manifest)[0], height=128, width=128)
    rows = [replace(row, id=str(number)) for number in range(NUM_ROWS)]

    def decoded(path, row, **_):
        return Frames(torch.full((3, 3, 128, 128), int(row.id) % 5, dtype=torch.uint8), 4.0)

    def encoded(self, frames, chunk):
        time.sleep(0.0005 * len(frames))
        return torch.zeros(*frames.shape[:2], 4, 16, 16)

    monkeypatch.setattr(videos, "read_frames", decoded)
    monkeypatch.setattr(Backbone, "encode", encoded)

    def make(name, some):
        prepare(
            tiny_manifest, tmp_path / name, tiny_backbone, condition=GREY, num_frames=3,
            rows=some, states=choose_state_writer("none"), batch_size=48,
        )  # fmt: skip

    make("few", rows[:600])
    before = begin_anew()
    make("many", rows)
    more = resident("VmHWM") - before
    assert len(Cache(tmp_path / "many")) == NUM_ROWS
    assert more < 250e6, f"{more / 1e6:.0f} MB more than for 600 rows"
