import sys

import pytest

from aid.conditioning.states import (
    NoStateWriter,
    UnavailableStateWriter,
    choose_state_writer,
    state_writer_of_checkpoint,
)
from aid.metrics.extractors.choice import choose_extractor
from aid.predict import find_model
from aid.worlds import installed_worlds, read_frames, world_of

KITCHEN = """
from pathlib import Path
from aid.worlds import World

class Writer:
    name, sees = "kitchen-rules", "text"
    def write(self, frames, instructions):
        return [[f"the arm does: {one}"] for one in instructions]

class Net:
    hash, side, dim, kernel, is_tuned_to = "0", 8, 2, (1, 0.0), "kitchens"
    name = "kitchen-net"
    def __init__(self, weights, device):
        self.weights, self.device = weights, device
    def features(self, frames):
        return frames.mean((1, 2, 3, 4))

KITCHEN = World(
    name="kitchen",
    model=Path(__file__).parent / "model",
    state_writers={"kitchen-rules": Writer},
    extractors={"kitchen-net": Net},
    has_made=lambda facts: "stove" in facts,
)
"""


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    """A package that brings a world, installed as pip would."""
    (tmp_path / "kitchen.py").write_text(KITCHEN)
    described = tmp_path / "kitchen-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: kitchen\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[aid.worlds]\nkitchen = kitchen:KITCHEN\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed_worlds.cache_clear()
    yield installed_worlds()["kitchen"]
    installed_worlds.cache_clear()
    sys.modules.pop("kitchen", None)


def test_the_table_top_is_installed_as_any_other_world_is(kitchen):
    assert set(installed_worlds()) == {"kitchen", "tabletop"}
    assert world_of([{"stove": 1}]) is kitchen
    assert world_of([{"stove": 1}, {"items": [], "camera": {}}]) is None


def test_a_state_writer_of_another_package_is_chosen_by_its_name(kitchen):
    writer = choose_state_writer("kitchen-rules")
    assert writer.write([], ["boil water"]) == [["the arm does: boil water"]]
    assert type(state_writer_of_checkpoint("kitchen-rules")) is type(writer)
    assert isinstance(state_writer_of_checkpoint("none"), NoStateWriter)
    assert isinstance(state_writer_of_checkpoint("garage-rules"), UnavailableStateWriter)


def test_an_extractor_of_another_package_is_the_default_for_its_world(kitchen):
    for found in (choose_extractor(world=kitchen), choose_extractor("kitchen-net")):
        assert (found.name, found.weights, found.device) == ("kitchen-net", None, "cpu")


def test_a_world_whose_model_is_not_there_says_so(kitchen):
    with pytest.raises(ValueError, match="the model of 'kitchen' is not in this installation"):
        find_model("kitchen")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "malformed"),
        ('{"frames": [{"file": "a.png"}]}', "malformed .KeyError: 'instructions'"),
        ('{"frames": []}', "names no frame"),
        ('{"frames": [{"file": "a.png", "instructions": []}]}', "without instructions"),
    ],
)
def test_a_malformed_list_of_frames_is_refused(tmp_path, text, words):
    (tmp_path / "frames.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_frames(tmp_path)


def test_a_folder_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no frames.json"):
        read_frames(tmp_path)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("kitchen = kitchen:GARAGE", "the world 'kitchen' .* 'kitchen' cannot be loaded"),
        ("kitchen = nowhere:KITCHEN", "cannot be loaded .*nowhere"),
        ("kitchen = kitchen:Writer", "is no World"),
        ("a = kitchen:KITCHEN\nb = kitchen:KITCHEN", "has the name of another one"),
    ],
)
def test_a_broken_world_is_one_sentence_with_its_package(kitchen, tmp_path, entry, words):
    (tmp_path / "kitchen-1.0.dist-info/entry_points.txt").write_text(f"[aid.worlds]\n{entry}\n")
    installed_worlds.cache_clear()
    with pytest.raises(ValueError, match=words):
        installed_worlds()
