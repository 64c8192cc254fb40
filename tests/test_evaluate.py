import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from blobs import camera_facts, video

from aid.config import FrameConfig
from aid.data.windows import cut_windows
from aid.evaluate import evaluate as evaluate_any
from aid.metrics.protocol import choose_protocol
from aid.tabletop.judge import TabletopJudge
from aid.tabletop.language import Task, instructions
from aid.tabletop.r3d import R3D, R3DConfig, TabletopR3D, save_r3d
from aid.types import VideoRow
from aid.video import read_image, write_mp4
from aid.worlds import Understood

START = {
    "red block": (0.30, -0.10, 0.0),
    "green can": (0.24, 0.05, 0.0),
    "blue bowl": (0.36, 0.08, 0.0),
}
SCENES = {
    7: START,
    8: START | {"red block": (0.32, -0.06, 0.0), "green can": (0.27, 0.06, 0.0)},
}
ENDS = {
    Task("put", "red block", "blue bowl"): (0.36, 0.08, 0.004),
    Task("put", "green can", "blue bowl"): (0.36, 0.08, 0.004),
}


def evaluate(*args, **settings):
    """As the command does on rows that the table-top's judge can judge."""
    return evaluate_any(*args, judge=TabletopJudge(), **settings)


REAL, COPIED, TRUE = "real videos", "first frame, repeated", "the instruction"
OTHER, EMPTY = "another instruction of the same frame", "no instruction"


@pytest.fixture
def split(tmp_path):
    """Two scenes with two tasks each: rows, folder, and the video of each frame and sentence."""
    folder = tmp_path / "forks"
    (folder / "videos").mkdir(parents=True)
    rows, answers = [], {}
    for scene, start in SCENES.items():
        for number, (task, end) in enumerate(ENDS.items()):
            pixels = video(start, start | {task.object: end})
            sentence = instructions(task)[number]
            row = VideoRow(
                id=f"forks-{scene}-{number}",
                video=f"videos/{scene}-{number}.mp4",
                instruction=sentence,
                num_frames=4,
                fps=4.0,
                height=64,
                width=64,
                world={
                    "scene": scene,
                    "items": [{"name": name} for name in start],
                    "camera": camera_facts(),
                    "task": {**vars(task), "object_index": 0, "target_index": 2},
                    "alternatives": [vars(one) for one in ENDS],
                },
            )
            write_mp4(folder / row.video, pixels, 4.0, lossless=True)
            rows.append(row)
            answers[pixels[0].tobytes(), sentence] = pixels
    return rows, folder, answers


@pytest.fixture
def obedient(split):
    """A model that follows the instruction; without one it repeats the frame."""

    def predict(frames, words, seeds, fps):
        assert len(frames) == len(words) == len(seeds)
        return [
            split[2].get((frame.tobytes(), one), np.repeat(frame[None], 4, 0))
            for frame, one in zip(frames, words, strict=True)
        ]

    return predict


def test_a_model_that_follows_instructions_has_full_accuracy(split, obedient, tmp_path):
    rows, folder, _ = split
    out = tmp_path / "runs" / "report"
    steps = []
    card = evaluate(
        rows,
        folder,
        obedient,
        out=out,
        modes=("true", "shuffled", "empty"),
        batch_size=3,
        title="Obedient, forks",
        on_video=lambda done, total: steps.append((done, total)),
    )
    accuracy = {name: scores.accuracy for name, scores in card.scores.items()}
    assert accuracy == {REAL: 1, COPIED: 0, TRUE: 1, OTHER: 0, EMPTY: 0}
    assert card.scores[OTHER].obeys_given == 1 and card.scores[TRUE].obeys_given is None
    assert card.scores[OTHER].details["bystander_displacement"] < 0.005
    assert card.scores[TRUE].details["families"] == {"put": (4, 4)}
    assert steps == [(3, 4), (4, 4)]

    names = ["features", "predictions", "real", "report.html", "report.json", "report.md"]
    names += ["sheet.png", "videos"]
    assert sorted(path.name for path in out.iterdir()) == names
    report = json.loads((out / "report.json").read_text())
    assert report["scores"][TRUE]["num_obeyed"] == 4
    assert report["scores"][TRUE]["families"] == {"put": [4, 4]}
    line = next(one for one in report["videos"] if one["set"] == OTHER)
    assert line["instruction"] == rows[0].instruction
    assert line["given_instruction"] == rows[1].instruction
    assert line["shown"] == "put the green can in the blue bowl" and not line["is_obeyed"]
    assert (out / "report.md").read_text().startswith("# Obedient, forks\n")
    sheet = read_image(out / "sheet.png")
    assert sheet.shape[0] == 2 * len(rows) * (2 * 64 + 21)  # the real one and the first mode's


def test_the_card_says_what_was_understood_and_which_wordings(split, obedient, tmp_path):
    rows, folder, _ = split
    rows = [replace(row, world=row.world | {"wordings": "held_out"}) for row in rows]

    def understand(frame, said):
        assert frame.shape == (64, 64, 3)
        if "green" in said:
            raise ValueError("no green can is known")
        return Understood(instruction="put the red block in the blue bowl")

    rows[0] = replace(rows[0], instruction=rows[0].instruction + " at last")
    card = evaluate(
        rows, folder, lambda given, said, *more: obedient(
            given, [one.removesuffix(" at last") for one in said], *more
        ),
        out=tmp_path / "card", understand=understand,
    )  # fmt: skip
    told = [one for one in card.videos if one["set"] == TRUE]
    assert told[0]["understood"] == "put the red block in the blue bowl"
    assert told[1]["understood"] is None
    assert told[1]["not_understood"] == "no green can is known"
    assert "understood" not in next(one for one in card.videos if one["set"] == REAL)
    notes = " ".join(card.notes)
    assert "Wordings of the instructions: held_out." in notes
    assert "1 of 4 instructions were put into other words" in notes
    assert "2 of 4 instructions were not understood and handed over as they are." in notes


def test_every_mode_uses_the_same_seeds(split, obedient, tmp_path):
    rows, folder, _ = split
    calls = []

    def predict(frames, words, seeds, fps):
        calls.append((words, seeds))
        return obedient(frames, words, seeds, fps)

    evaluate(rows, folder, predict, out=tmp_path, modes=("true", "empty"), seed=5, batch_size=2)
    assert [seeds for _, seeds in calls] == [[5, 6], [5, 6], [7, 8], [7, 8]]
    assert [words for words, _ in calls[1::2]] == [["", ""], ["", ""]]


def test_a_second_call_predicts_only_missing_videos_and_gives_the_same_scores(
    split, obedient, tmp_path
):
    rows, folder, _ = split
    predicted = []

    def predict(frames, words, seeds, fps):
        if len(predicted) == 1:
            predicted.append(())
            raise RuntimeError("killed")
        predicted.append(seeds)
        return obedient(frames, words, seeds, fps)

    settings = {"out": tmp_path, "batch_size": 2, "made_with": {"trained": "a"}}
    with pytest.raises(RuntimeError, match="killed"):
        evaluate(rows, folder, predict, **settings)
    resumed = evaluate(rows, folder, predict, **settings)
    assert [seeds for seeds in predicted if seeds] == [[0, 1], [2, 3]]
    whole = evaluate(rows, folder, obedient, **settings | {"out": tmp_path / "whole"})
    assert resumed.to_json() == whole.to_json()
    for path in (tmp_path / "predictions/true").iterdir():
        assert path.read_bytes() == (tmp_path / "whole/predictions/true" / path.name).read_bytes()
    # Another seed or other words are other videos; another model is refused.
    evaluate(rows, folder, predict, seed=9, modes=("empty",), **settings)
    assert predicted[-1] == [11, 12]
    with pytest.raises(ValueError, match=r"trained = .a., but now it is .b.\. Choose another"):
        evaluate(rows, folder, predict, **settings | {"made_with": {"trained": "b"}})


def test_the_textless_backbone_is_a_set_of_its_own(split, obedient, tmp_path):
    rows, folder, _ = split
    given_words = []

    def textless(frames, words, seeds, fps):
        given_words.extend(words)
        return obedient(frames, words, seeds, fps)

    card = evaluate(rows, folder, obedient, textless=textless, out=tmp_path)
    assert [*card.scores] == [REAL, COPIED, TRUE, "the backbone alone, without words"]
    assert given_words == [""] * len(rows)
    assert card.scores["the backbone alone, without words"].accuracy == 0


def test_with_an_extractor_the_card_has_distances_and_the_instruction_lift(
    split, obedient, tmp_path
):
    rows, folder, _ = split
    torch.manual_seed(0)
    save_r3d(tmp_path / "r3d", R3D(R3DConfig(widths=(8, 8, 8), dim=6)), 1.0, {})
    read = []
    card = evaluate(
        rows, folder, obedient, out=tmp_path, modes=("true", "shuffled", "empty"),
        protocol=choose_protocol("strict", 4, 1), extractor=TabletopR3D(tmp_path / "r3d"),
        on_read=lambda *progress: read.append(progress),
    )  # fmt: skip
    like = card.comparison.likeness
    assert [*like] == [
        "real against real",
        TRUE,
        OTHER,
        EMPTY,
        COPIED,
        "oracle blend",
        "mean video",
    ]
    # It predicts the real videos themselves, in another order if given other words.
    assert abs(like[TRUE].frechet.value) < 1e-6 and abs(like[OTHER].frechet.value) < 1e-6
    assert like[TRUE].psnr == [100] * 4 and like[OTHER].psnr_predicted.value < 100
    assert like[EMPTY].frechet == like[COPIED].frechet
    assert card.lift.retrieval[TRUE].value == 1 and card.lift.chance == 0.5
    assert card.lift.retrieval[EMPTY].value == 0.5  # one still video for both
    assert card.lift.moves[f"{TRUE} -> {OTHER}"].value == pytest.approx(1)
    assert read[0] == ("real videos", 4, 4) and ("read real videos", 4, 4) in read
    table = (tmp_path / "report.md").read_text()
    assert "## Effect of the words" in table and "Fréchet (tabletop-r3d)" in table
    assert json.loads((tmp_path / "report.json").read_text())["lift"]["chance"] == 0.5
    assert "instruction lift" in (tmp_path / "report.html").read_text()


def test_without_a_model_the_baselines_are_scored(split, tmp_path):
    rows, folder, _ = split
    card = evaluate(rows, folder, None, out=tmp_path)
    assert list(card.scores) == [REAL, COPIED]
    assert (tmp_path / "sheet.png").is_file()


def test_a_split_with_one_instruction_per_frame_cannot_be_shuffled(split, obedient, tmp_path):
    rows, folder, _ = split
    with pytest.raises(ValueError, match=r"no row has another instruction than row.*forks"):
        evaluate(rows[:1], folder, obedient, out=tmp_path / "out", modes=("shuffled",))
    assert not (tmp_path / "out").exists()


def test_rows_without_the_facts_are_scored_without_the_judge(split, obedient, tmp_path):
    rows, folder, _ = split
    world = {key: value for key, value in rows[1].world.items() if key != "alternatives"}
    rows[1] = replace(rows[1], world=world)
    card = evaluate(rows, folder, obedient, out=tmp_path / "some")
    assert card.scores[TRUE].num_videos == 3 and card.comparison.likeness[TRUE].num_videos == 4
    assert any("1 of 4 rows do not state what the table-top's outcome" in n for n in card.notes)
    plain = [replace(row, world={}) for row in rows]
    card = evaluate(plain, folder, obedient, out=tmp_path / "none")
    assert card.scores == {} and card.comparison.likeness[TRUE].psnr_predicted.value == 100
    assert "instruction accuracy" not in card.to_markdown()


def test_the_judge_cannot_judge_parts_of_episodes(split):
    rows, _, _ = split
    judge, frames = TabletopJudge(), FrameConfig(fps=2 * rows[0].fps)
    assert judge.can_judge(rows[0])
    for part in cut_windows(rows[:1], frames, rows[0].num_frames):
        assert part.num_frames < rows[0].num_frames
        assert not judge.can_judge(part), "its facts describe the episode's first frame"


def test_nothing_to_evaluate_and_unknown_modes_are_refused_before_anything_is_written(
    split, tmp_path
):
    rows, folder, _ = split
    with pytest.raises(ValueError, match="no videos to evaluate"):
        evaluate([], folder, None, out=tmp_path / "out")
    with pytest.raises(ValueError, match="mode 'swapped' is unknown"):
        evaluate(rows[:1], folder, None, out=tmp_path / "out", modes=("swapped",))
    assert not (tmp_path / "out").exists()


def test_a_model_that_returns_too_few_videos_or_another_size_is_refused(split, tmp_path):
    rows, folder, _ = split
    with pytest.raises(ValueError, match="a video for each frame, 4, got 0"):
        evaluate(rows, folder, lambda *_: [], out=tmp_path)
    large = np.zeros((4, 96, 96, 3), np.uint8)
    with pytest.raises(ValueError, match="96x96"):
        evaluate(rows, folder, lambda frames, *_: [large] * len(frames), out=tmp_path)


def test_a_row_whose_frame_does_not_show_its_items_is_named(split, tmp_path):
    rows, folder, _ = split
    rows[0].world["items"].append({"name": "yellow ball"})
    with pytest.raises(ValueError, match=r"row 'forks-7-0': .*does not show yellow ball"):
        evaluate(rows, folder, None, out=tmp_path)
