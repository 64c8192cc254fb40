"""The page as it is built, without a server."""

from pathlib import Path

import pytest

from aid.web.limits import Limits
from aid.web.studio import Model, Studio
from aid.worlds import FirstFrame


@pytest.fixture
def built(models, tiny_backbone, example_frames, tmp_path, monkeypatch):
    """Builds the page for one or two models."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    def build(names=("one",), frames=("0.png", "1.png")):
        from aid.web.page import build_page

        loaded = [Model.load(str(models / name), str(tiny_backbone), "cpu") for name in names]
        examples = [FirstFrame(example_frames / file, "", list("abcdefgh")) for file in frames]
        return build_page(Studio(loaded, Limits(), examples), tmp_path)

    return build


def shown(page, kind):
    return [one for one in page.blocks.values() if one.get_block_name() == kind and one.visible]


def test_a_tab_for_two_checkpoints_is_there_only_with_two(built):
    labels = {
        names: {tab.label for tab in shown(built(names), "tabitem")}
        for names in (("one",), ("one", "rival"))
    }
    assert labels["one", "rival"] - labels[("one",)] == {"Two checkpoints"}


def test_no_more_instructions_are_suggested_than_can_be_compared(built):
    (lines,) = [one for one in shown(built(), "textbox") if one.elem_id == "lines"]
    assert lines.value == "a\nb\nc\nd\ne\nf"


def test_without_examples_nothing_is_offered_or_chosen(built):
    page = built(frames=())
    assert not shown(page, "gallery")
    assert not shown(page, "dataset")
    assert all(file.value is None for file in shown(page, "file"))


def test_examples_outlive_the_clean_up_of_uploads(built):
    from gradio.route_utils import delete_files_created_by_app

    page = built()
    (frame,) = [one for one in shown(page, "file") if one.value is not None]
    examples = set(frame.keep_in_cache)
    assert len(examples) == 2
    for path in examples:
        frame.move_resource_to_block_cache(path)  # as when a visitor picks it
    delete_files_created_by_app(page, 0)
    assert all(Path(path).is_file() for path in examples)
