import json

import pytest

from aid.data.licence import licence_of
from aid.types import VideoRow


def row(**world):
    return VideoRow(
        id="a", video="a.mp4", instruction="push", num_frames=2, fps=4.0, height=8, width=8,
        world=world,
    )  # fmt: skip


def test_a_data_set_without_a_licence_has_none(tmp_path):
    assert licence_of(tmp_path, [row()]) is None
    (tmp_path / "README.md").write_text("# Ours\n\nlicense: do as you like\n")
    assert licence_of(tmp_path, [row()]) is None, "prose is not a declaration"


def test_the_licence_comes_from_rows_then_card_then_file(tmp_path):
    (tmp_path / "LICENSE").write_text("\n  Creative Commons Attribution 4.0\n\nwords, words\n")
    assert licence_of(tmp_path, []) == "Creative Commons Attribution 4.0 (LICENSE)"
    card = "---\nlicense: other\nlicense_name: bridge\ntags: [robots]\n---\n# Data\n"
    (tmp_path / "README.md").write_text(card)
    assert licence_of(tmp_path, []) == "other, bridge"
    rows = [row(license="cc-by-4.0"), row(licence="cc0-1.0"), row(license="cc-by-4.0")]
    assert licence_of(tmp_path, rows) == "cc-by-4.0, cc0-1.0"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dataset_info.json", {"redistributionInfo": {"license": "mit"}}),
        ("meta/info.json", {"license": "mit", "codebase_version": "v2.1"}),
    ],
)
def test_licences_of_published_layouts_are_found(tmp_path, name, values):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(json.dumps(values))
    assert licence_of(tmp_path, []) == "mit"


@pytest.mark.parametrize("text", ["---\n: [\n---\n", "---\n- a\n---\n", "---\n", "\x00"])
def test_a_malformed_card_is_ignored(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "dataset_info.json").write_text("[")
    assert licence_of(tmp_path, []) is None
