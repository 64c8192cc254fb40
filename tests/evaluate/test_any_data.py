"""`evaluate` on rows that no simulator made: reading, words, baselines, processes."""

import csv
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from videos import moving_square

import aid.evaluate.ranks as ranks_module
from aid.config import FrameConfig, SourceConfig
from aid.data.sources import read_source
from aid.evaluate import (
    ENCODED,
    FrameSettings,
    Ranks,
    can_shuffle,
    evaluate,
    mean_of,
)
from aid.metrics.protocol import choose_protocol
from aid.tabletop.judge import TabletopJudge
from aid.types import State
from aid.video import read_image, read_video, write_mp4

TRUE, OTHER, EMPTY = "the instruction", "another row's instruction", "no instruction"
STILL, BLEND, MEAN = "first frame, repeated", "oracle blend", "mean video"
STEPS = {"go right": 3, "go left": -2, "stay": 0, "go right fast": 5}
SETTINGS = FrameSettings(frames=FrameConfig(), num_frames=4, height=32, width=48)


@pytest.fixture
def data(tmp_path):
    """A folder of videos with captions, 12 frames of 64x64 at 6 a second."""
    folder = tmp_path / "set"
    folder.mkdir()
    with (folder / "captions.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["video", "instruction"])
        for number, (words, step) in enumerate(STEPS.items()):
            start = 26 if step < 0 else 4 + 2 * number
            pixels = moving_square(12, start=start, step=step)
            write_mp4(folder / f"Video {number}.mp4", pixels, 6.0, lossless=True)
            lines.writerow([f"Video {number}.mp4", words])
    return folder


@pytest.fixture
def rows(data):
    return read_source(data, SourceConfig()).rows


@pytest.fixture
def obedient(data, rows, tmp_path):
    """A model that shows the real video of the given instruction; without one, a still."""
    videos = {}
    evaluate(rows, data, None, out=tmp_path / "known", frames=SETTINGS)
    for row, path in zip(rows, sorted((tmp_path / "known/real").glob("*.mp4")), strict=True):
        videos[row.instruction] = read_video(path)

    def predict(given, words, seeds, fps):
        assert all(frame.shape == (32, 48, 3) for frame in given)
        assert fps == pytest.approx([3 / (11 / 6)] * len(given))
        return [
            videos.get(one, np.repeat(frame[None], 4, 0))
            for frame, one in zip(given, words, strict=True)
        ]

    return predict


MODES = ("true", "shuffled", "empty")


def test_a_folder_of_videos_is_scored_without_a_judge(data, rows, obedient, tmp_path):
    out = tmp_path / "card"
    card = evaluate(
        rows, data, obedient, out=out, frames=SETTINGS, modes=MODES, judge=TabletopJudge()
    )
    like = card.comparison.likeness
    assert [*like] == [TRUE, OTHER, EMPTY, STILL, BLEND, MEAN]
    assert card.scores == {} and like[TRUE].psnr_predicted.value == 100
    assert like[EMPTY].psnr_predicted == like[STILL].psnr_predicted
    assert like[STILL].motion_ratio.value == 0 and like[TRUE].motion_ratio.value == 1
    assert like[MEAN].num_videos == 4
    text = (out / "report.md").read_text()
    assert "## Effect of the words" in text and f"| {OTHER} |" in text
    report = json.loads((out / "report.json").read_text())
    assert {line["set"] for line in report["videos"]} >= {TRUE, OTHER, EMPTY, STILL}
    assert report["videos"][0]["fps"] == pytest.approx(3 / (11 / 6))
    assert read_image(out / "sheet.png").shape[0] > 8 * 96  # real above predicted, four rows
    shown = sorted((out / "videos").iterdir())
    assert len(shown) == 4 and read_video(shown[0]).shape[2] > 4 * 48  # real and three modes


def test_the_word_effect_separates_a_model_that_follows_words_from_one_that_ignores_them(
    data, rows, obedient, tmp_path
):
    def ignoring(given, words, seeds, fps):
        return obedient(given, [""] * len(words), seeds, fps)

    card = evaluate(rows, data, obedient, out=tmp_path / "a", frames=SETTINGS, modes=MODES)
    other = card.words[OTHER]
    assert other.nearer.value == 1 and other.lift_psnr.low > 0
    assert other.change.value > 5 and other.change_of_real > 5
    card = evaluate(rows, data, ignoring, out=tmp_path / "b", frames=SETTINGS, modes=MODES)
    for effect in card.words.values():
        assert effect.nearer.value == 0.5 and effect.lift_psnr.value == 0
        assert effect.change.value < 0.01


def test_the_other_instruction_is_first_taken_from_rows_with_the_same_frame(
    data, rows, obedient, tmp_path
):
    """The video of the last row is the first row's, with other words: they share a first frame."""
    (data / "Video 3.mp4").write_bytes((data / "Video 0.mp4").read_bytes())
    card = evaluate(rows, data, obedient, out=tmp_path, frames=SETTINGS, modes=("shuffled",))
    given = [line["given_instruction"] for line in card.videos if line["set"] == OTHER]
    assert given == ["go right fast", "stay", "go right fast", "go right"]


def test_rows_that_all_have_one_instruction_cannot_be_shuffled(data, rows, tmp_path):
    wordings = zip(rows, ["Go!", "go!", " go!", "GO!"], strict=True)
    same = [replace(row, instruction=words) for row, words in wordings]
    assert can_shuffle(rows) and not can_shuffle(same)
    with pytest.raises(ValueError, match="cannot be given another one"):
        evaluate(same, data, lambda *_: [], out=tmp_path / "no", frames=SETTINGS, modes=MODES)
    assert not (tmp_path / "no").exists()


def test_if_all_rows_have_one_instruction_the_other_one_comes_from_training_rows(
    data, rows, tmp_path
):
    given_words = []

    def predict(given, words, seeds, fps):
        given_words.extend(words)
        return [np.repeat(frame[None], 4, 0) for frame in given]

    wordless = replace(rows[2], instruction=" ")
    evaluate(
        rows[:1], data, predict, out=tmp_path, frames=SETTINGS, modes=MODES,
        more=[rows[0], wordless, rows[3]],
    )  # fmt: skip
    assert given_words == ["go right", "go right fast", ""]


def test_the_mean_video_of_a_row_leaves_the_row_out(data, rows, tmp_path):
    one = evaluate(rows[:1], data, None, out=tmp_path / "one", frames=SETTINGS)
    assert MEAN not in one.comparison.likeness and "no other video" in one.comparison.not_run[MEAN]
    two = evaluate(rows[:2], data, None, out=tmp_path / "two", frames=SETTINGS)
    first, second = (read_video(p) for p in sorted((tmp_path / "two/real").glob("*.mp4")))
    error = ((first[1:].astype(float) - second[1:]) ** 2).mean((1, 2, 3))
    psnr = (10 * np.log10(255**2 / error)).mean()
    assert two.comparison.likeness[MEAN].psnr_predicted.value == pytest.approx(psnr, abs=0.01)


def test_the_mean_of_training_videos_and_the_autoencoder_are_sets_of_the_card(data, rows, tmp_path):
    mean, number = mean_of(data, rows[1:], SETTINGS)
    assert number == 3 and mean.shape == (4, 32, 48, 3)
    card = evaluate(
        rows[:1], data, None, out=tmp_path, frames=SETTINGS, mean=mean,
        autoencode=lambda videos: [255 - video for video in videos],
    )  # fmt: skip
    like = card.comparison.likeness
    assert [*like] == [STILL, BLEND, MEAN, ENCODED]
    assert like[ENCODED].psnr_predicted.value < like[BLEND].psnr_predicted.value
    assert [path.suffix for path in sorted((tmp_path / "encoded").iterdir())] == [".json", ".mp4"]


def test_the_model_gets_the_given_frames_and_they_are_not_scored(data, rows, tmp_path):
    def predict(given, words, seeds, fps):
        assert all(frames.shape == (2, 32, 48, 3) for frames in given)
        return [np.concatenate([frames, 255 - frames]) for frames in given]

    protocol = choose_protocol("strict", 4, 2)
    card = evaluate(rows, data, predict, out=tmp_path, frames=SETTINGS, protocol=protocol)
    like = card.comparison.likeness[TRUE]
    assert like.psnr[:2] == [100, 100] and like.psnr_predicted.value < 20
    assert "2 given, predicted frames only" in card.to_markdown()


def test_the_model_gets_recorded_states_only_on_request(data, rows, tmp_path):
    given_states = []

    def predict(given, words, seeds, fps, *states):
        given_states.append(states)
        return [np.repeat(frame[None], 4, 0) for frame in given]

    rows = [
        replace(row, states=[State(text=f"state {n}", first_frame=0, last_frame=11)])
        for n, row in enumerate(rows)
    ]
    evaluate(rows, data, predict, out=tmp_path, frames=SETTINGS)
    settings = {"frames": SETTINGS, "modes": MODES, "with_states": True}
    evaluate(rows, data, predict, out=tmp_path, **settings)
    own = [[f"state {n}"] for n in range(4)]
    assert given_states == [(), (own,), ([*own[1:], own[0]],), ([[]] * 4,)]


def test_rows_that_cannot_be_read_are_named_and_the_others_scored(data, rows, obedient, tmp_path):
    (data / "Video 1.mp4").write_bytes(b"no video")
    card = evaluate(rows, data, obedient, out=tmp_path / "some", frames=SETTINGS)
    assert card.comparison.likeness[TRUE].num_videos == 3
    assert any("Video 1.mp4" in note for note in card.notes)
    seeds = {line["id"]: line["seed"] for line in card.videos}
    assert sorted(seeds.values()) == [0, 2, 3]  # a row's seed does not depend on the others
    with pytest.raises(ValueError, match=r"none of the 1 videos can be read.*Video 1"):
        evaluate(rows[1:2], data, obedient, out=tmp_path / "none", frames=SETTINGS)


def test_a_second_call_predicts_only_what_has_changed(data, rows, obedient, tmp_path):
    predicted = []

    def predict(given, words, seeds, fps):
        predicted.append(words)
        return obedient(given, words, seeds, fps)

    first = evaluate(rows, data, predict, out=tmp_path / "out", frames=SETTINGS)
    again = evaluate(rows, data, predict, out=tmp_path / "out", frames=SETTINGS)
    assert first.to_json() == again.to_json() and len(predicted) == 1
    (data / "Video 0.mp4").write_bytes((data / "Video 1.mp4").read_bytes())
    changed = evaluate(rows, data, predict, out=tmp_path / "out", frames=SETTINGS)
    assert predicted[1:] == [["go right"]]  # its given frame is another one
    assert changed.comparison.likeness[TRUE].psnr_predicted.value < 100


def test_a_damaged_prediction_is_named_and_predicted_again(data, rows, obedient, tmp_path):
    first = evaluate(rows, data, obedient, out=tmp_path, frames=SETTINGS)
    path = sorted((tmp_path / "predictions/true").glob("*.mp4"))[2]
    content = bytearray(path.read_bytes())
    content[-20] ^= 255
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{path.name}.*SHA-256"):
        again = evaluate(rows, data, obedient, out=tmp_path, frames=SETTINGS)
    assert first.to_json() == again.to_json()


@pytest.mark.parametrize("is_dead", [False, True])
def test_processes_share_the_rows_and_rank_0_does_the_work_of_a_dead_one(
    is_dead, data, rows, obedient, tmp_path, monkeypatch
):
    monkeypatch.setattr(ranks_module, "PATIENCE", 0.2)
    predicted = []

    def predict(given, words, seeds, fps):
        predicted.append(words)
        return obedient(given, words, seeds, fps)

    settings = {"frames": SETTINGS, "modes": ("true",), "batch_size": 1}
    if not is_dead:
        ranks = Ranks(rank=1, number=2)
        card = evaluate(rows, data, predict, out=tmp_path / "out", ranks=ranks, **settings)
        assert card is None and predicted == [["go left"], ["go right fast"]]
    ranks = Ranks(rank=0, number=2)
    shared = evaluate(rows, data, predict, out=tmp_path / "out", ranks=ranks, **settings)
    assert sorted(words for (words,) in predicted) == sorted(STEPS)  # each once
    alone = evaluate(rows, data, obedient, out=tmp_path / "alone", **settings)
    assert shared.to_json() == alone.to_json()


def test_records_of_an_earlier_run_with_other_videos_do_not_count_as_done(
    data, rows, obedient, tmp_path, monkeypatch
):
    counts = []
    monkeypatch.setattr(Ranks, "wait", lambda self, count, *rest: counts.append(count()))
    first, second = Ranks(rank=0, number=2), Ranks(rank=1, number=2)
    evaluate(rows, data, obedient, out=tmp_path / "out", frames=SETTINGS, ranks=second)
    evaluate(rows, data, obedient, out=tmp_path / "out", frames=SETTINGS, ranks=first)
    assert counts == [2, 4, 4]  # real videos for each process, then the first one's predictions
    (data / "Video 1.mp4").write_bytes((data / "Video 0.mp4").read_bytes())
    evaluate(rows, data, obedient, out=tmp_path / "out", frames=SETTINGS, ranks=first)
    assert counts[3:] == [3, 3]  # the other process's share is to be made anew


def test_two_rows_with_one_id_are_refused(data, rows, tmp_path):
    with pytest.raises(ValueError, match=r"two rows have the id .*Video 0"):
        evaluate([rows[0], rows[0]], data, None, out=tmp_path, frames=SETTINGS)


def test_good_data_causes_no_warning(data, rows, obedient, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        evaluate(rows, data, obedient, out=tmp_path, frames=SETTINGS, modes=MODES)
