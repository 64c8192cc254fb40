"""The reader on real videos, whose truth the simulator knows. benchmarks/ has the long version."""

import numpy as np
import pytest

from aid.data.manifest import read_manifest
from aid.tabletop.language import Task
from aid.tabletop.reader.instruction import OutcomeReader, best_task, judge, outcome_of
from aid.video import read_video

SPLITS = {"test": 4, "combos": 8}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    pytest.importorskip("mujoco", reason="needs mujoco: pip install 'aid-video[tabletop]'")
    from aid.tabletop.world.generate import generate

    out = tmp_path_factory.mktemp("reader")
    try:
        generate(out, splits=SPLITS, seed=2, num_workers=1)
    except ValueError as error:
        pytest.skip(str(error))
    return [
        (row, read_video(out / split / row.video))
        for split in SPLITS
        for row in read_manifest(out / split)
    ]


def reader_of(row, video):
    names = [item["name"] for item in row.world["items"]]
    return OutcomeReader(video[0], names, row.world["camera"])


def tasks_of(row):
    asked = {key: row.world["task"][key] for key in ("family", "object", "target", "direction")}
    return Task(**asked), [Task(**task) for task in row.world["alternatives"]]


@pytest.mark.gl
def test_real_videos_show_the_requested_task(videos):
    assert len(videos) == 24
    verdicts = [judge(reader_of(r, v).read(v), *tasks_of(r)) for r, v in videos]
    assert np.mean([verdict.is_obeyed for verdict in verdicts]) >= 0.98
    assert np.mean([verdict.bystander_displacement for verdict in verdicts]) < 0.002
    assert sum(verdict.num_lost for verdict in verdicts) == 0


@pytest.mark.gl
def test_positions_are_those_of_the_simulator(videos):
    for row, video in videos:
        reading = reader_of(row, video).read(video)
        for item in row.world["items"]:
            read = reading.items[item["name"]]
            assert np.linalg.norm(np.subtract(read.start, item["start"][:2])) < 0.006
            if abs(item["end"][2] - item["start"][2]) < 0.01:
                assert np.linalg.norm(np.subtract(read.end, item["end"][:2])) < 0.015


@pytest.mark.gl
def test_the_repeated_first_frame_shows_nothing(videos):
    for row, video in videos:
        reading = reader_of(row, video).read(np.repeat(video[:1], 2, 0))
        _, tasks = tasks_of(row)
        assert best_task(reading, tasks) is None
        assert not any(outcome_of(reading, task) for task in tasks)
