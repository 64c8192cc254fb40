"""`aid evaluate`: what it hands on, whose states it tells, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checkpoints import write_tiny_model

import aid.cli
from aid.video import read_video


@pytest.mark.parametrize(("kind", "mode"), [("model", "shuffled"), ("backbone", "empty")])
def test_evaluate_hands_rows_and_predictor_on(
    kind, mode, tiny_backbone, tiny_config, tiny_manifest, tmp_path, monkeypatch, capsys
):
    import aid.evaluate

    config = replace(tiny_config, dqformer=replace(tiny_config.dqformer, use_states=False))
    write_tiny_model(tmp_path / "aid", tiny_backbone, config)
    seen = {}

    def score(rows, folder, predict, **settings):
        frames = [read_video(Path(folder) / row.video)[0] for row in rows]
        told = [row.instruction for row in rows]
        seen.update(settings, videos=predict(frames, told, [4, 5], [4.0, 4.0]))
        return SimpleNamespace(to_markdown=lambda: "the table")

    monkeypatch.setattr(aid.evaluate, "evaluate", score)
    flags = [
        "--model",
        tmp_path / "aid",
        "--backbone",
        tiny_backbone,
        "--limit",
        2,
        "--num_steps",
        1,
    ]
    flags += [
        "--num_steps",
        1,
        "--data",
        tiny_manifest,
        "--out",
        tmp_path / "r",
        f"--{mode}",
        "--with_backbone",
    ]
    flags += ["--precision", "bfloat16"]
    assert aid.cli.main(["evaluate", "--predictor", kind, *map(str, flags)]) == 0
    assert [video.shape[1:] for video in seen["videos"]] == [(64, 64, 3)] * 2
    assert seen["modes"] == ["true", mode]
    # Real videos of 5 frames are cut down to the model's frames, not the model's to theirs.
    assert seen["protocol"].num_frames == len(seen["videos"][0]) == seen["frames"].num_frames == 3
    bare = seen["textless"]([read_video(tiny_manifest / "videos/0.mp4")[0]], [""], [4], [4.0])
    assert np.array_equal(bare[0], seen["videos"][0]) == (kind == "backbone")
    understands = {"understand"} if kind == "model" else set()
    expected = {"precision", "trained", "backbone", "sampler"} | understands
    assert seen["made_with"].keys() == expected
    assert "the table" in capsys.readouterr().out


def test_evaluate_uses_the_named_state_writer(
    tiny_backbone, tiny_config, tiny_manifest, tmp_path, monkeypatch
):
    import aid.evaluate

    write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config)
    seen = []

    def score(rows, folder, predict, **settings):
        frame = read_video(Path(folder) / rows[0].video)[0]
        video = predict([frame], ["lift the red ball"], [4], [4.0])[0]
        seen.append((settings["made_with"].get("states"), video))
        return SimpleNamespace(to_markdown=lambda: "")

    monkeypatch.setattr(aid.evaluate, "evaluate", score)
    flags = [
        "--model",
        tmp_path / "aid",
        "--backbone",
        tiny_backbone,
        "--limit",
        1,
        "--num_steps",
        1,
    ]
    flags += ["--num_steps", 1, "--data", tiny_manifest, "--out", tmp_path / "r"]
    for more in ([], ["--states_from", "none"], ["--states_from", "tabletop-rules"]):
        assert aid.cli.main(["evaluate", *map(str, flags), *more]) == 0
    (own, usual), (none, without), (rules, as_usual) = seen
    assert (own, none, rules) == (None, "none", "tabletop-rules")
    assert np.array_equal(usual, as_usual) and not np.array_equal(usual, without)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--states_from", "nobody"], "no state writer is called 'nobody'"),
        (["--states_from", "replay"], "tells the model what happens in the videos"),
        (["--states_from", "column:plan"], "tells the model what happens in the videos"),
        (["--states_from", "none", "--predictor", "backbone"], "nothing reads states"),
    ],
)
def test_states_that_would_say_nothing_or_too_much_are_refused(
    more, words, tiny_backbone, tiny_config, tiny_manifest, tmp_path, capsys
):
    write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config)
    flags = ["--model", tmp_path / "aid", "--backbone", tiny_backbone, "--data", tiny_manifest]
    assert aid.cli.main(["evaluate", *map(str, flags), "--out", str(tmp_path / "r"), *more]) == 2
    assert words in capsys.readouterr().err


def test_evaluate_asks_a_language_model_before_the_video_model_is_loaded(
    tiny_backbone, tiny_config, tiny_manifest, tmp_path, monkeypatch
):
    import aid.predict
    import aid.states

    write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config)
    asked = []

    def load(*_, state_writer, **__):
        assert asked == [(tiny_manifest / "states/answers.jsonl", 2)]
        raise ValueError(f"{state_writer.name} was asked first")

    def tell(data, rows, writer, shown, on_row):
        assert (shown.num_frames, shown.height, shown.width) == (3, 64, 64)
        asked.append((writer.answers_file, len(rows)))

    monkeypatch.setattr(aid.states, "write_states", tell)
    monkeypatch.setattr(aid.predict.Predictor, "from_pretrained", load)
    flags = ["--model", tmp_path / "aid", "--backbone", tiny_backbone]
    flags += ["--data", tiny_manifest, "--out", tmp_path / "r"]
    flags += ["--limit", 2, "--states_from", "server:http://127.0.0.1:9/v1#a-model"]
    assert aid.cli.main(["evaluate", *map(str, flags)]) == 2
    assert asked
