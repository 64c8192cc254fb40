import base64
import io
import json
import re
import urllib.request

import numpy as np
import pytest
from checkpoints import write_tiny_model
from PIL import Image
from videos import moving_square

import aid.cli
from aid.cli.states import recorded_states
from aid.conditioning.language_model import Answer, LanguageModelStateWriter, WrittenStates
from aid.conditioning.states import choose_state_writer
from aid.config import FrameConfig
from aid.data.manifest import read_manifest, write_manifest
from aid.states import FirstFrames, RowStates, make_report, rows_with_states, write_states
from aid.states.report import repeats
from aid.types import VideoRow
from aid.video import fit, write_mp4

SHOWN = FirstFrames(frames=FrameConfig(), num_frames=2, height=64, width=64)
SAID = ["push the red block to the left", "lift the red block", "drop the red block"]


class Painter:
    """Answers with the colour of the frame's first pixel."""

    def __init__(self):
        self.asked, self.is_loaded = [], False

    def ask(self, questions):
        self.is_loaded = True
        for index, one in enumerate(questions):
            self.asked.append(one.instruction)
            yield index, Answer(f"1. {one.frame[0, 0].tolist()}\n2. {one.instruction} is done")

    def release(self):
        self.is_loaded = False


@pytest.fixture
def data(tmp_path):
    """Three videos that begin at different frames of one file, and no states."""
    folder = tmp_path / "data"
    folder.mkdir()
    pixels = moving_square(6)
    pixels[:, 0, 0] = [(10 * n, 0, 0) for n in range(6)]
    write_mp4(folder / "a.mp4", pixels, fps=2.0, lossless=True)
    rows = [
        VideoRow(id=str(n), video="a.mp4", instruction=said, num_frames=2, fps=2.0, height=64,
                 width=64, start=float(n), world={"scene": 0, "told": f"one\n\n two{n} "})
        for n, said in enumerate(SAID)
    ]  # fmt: skip
    write_manifest(folder, rows)
    return folder


def painted(data, painter):
    return LanguageModelStateWriter(
        "vlm:a/b?prompt=1", "first_frame", painter, 2, data / "answers.jsonl"
    )


def test_the_model_gets_the_first_frame_of_each_video(data):
    painter, seen = Painter(), []
    writer = painted(data, painter)
    told = write_states(data, read_manifest(data), writer, SHOWN, lambda *count: seen.append(count))
    assert [one.result.states[0] for one in told] == ["[0, 0, 0]", "[20, 0, 0]", "[40, 0, 0]"]
    assert seen[-1] == (3, 3)
    assert not painter.is_loaded, "the model's memory is given back"
    rows = rows_with_states(told, writer)
    assert [state.text for state in rows[1].states][1] == "lift the red block is done"
    assert (rows[1].state_writer, rows[1].states_see) == (writer.name, "first_frame")
    replay = choose_state_writer("replay", rows)
    assert (replay.name, replay.sees) == (writer.name, "first_frame")


def test_a_video_without_an_instruction_is_refused(data):
    rows = read_manifest(data)
    rows[1] = VideoRow(**{**rows[1].to_json(), "instruction": "", "states": []})
    with pytest.raises(ValueError, match="1 of 3 videos have no instruction, the first is '1'"):
        write_states(data, rows, painted(data, Painter()), SHOWN)


@pytest.fixture
def turned(tmp_path, tiny_backbone, tiny_config):
    """One episode as a folder of wide pictures that lie on their side, and the frame of its second
    half that a model of 64 x 64 is given: upright, small, its centre."""
    folder = tmp_path / "turned"
    (folder / "episode").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (160, 128, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"episode/frame_{number}.png", exif=exif)
    row = VideoRow(id="second half", video="episode", instruction="push the red ball left",
                   num_frames=20, fps=10.0, height=128, width=160, start=2.0, stop=4.0)  # fmt: skip
    write_manifest(folder, [row])
    first = np.random.default_rng(20).integers(0, 256, (160, 128, 3)).astype(np.uint8)
    return folder, fit(np.rot90(first, 3), 64, 64), folder / "episode/frame_20.png"


def shown_to(server, model):
    """The frames that the server was sent with questions to a model."""
    with urllib.request.urlopen(f"{server}/log", timeout=60) as answer:
        log = json.loads(answer.read())
    urls = [
        part["image_url"]["url"]
        for one in log
        if one["model"] == model
        for part in one["body"]["messages"][-1]["content"]
        if part["type"] == "image_url"
    ]
    files = [io.BytesIO(base64.b64decode(url.partition(",")[2])) for url in urls]
    return [np.array(Image.open(file).convert("RGB")) for file in files]


@pytest.mark.parametrize("command", ["data states", "prepare", "predict"])
def test_the_model_gets_the_frame_that_training_sees(
    command, turned, server, tiny_backbone, tiny_config, tmp_path, request
):
    folder, expected, picture = turned
    model = f"shown_{command.split()[-1]}"
    name = f"server:{server}/v1#{model}?states=2"
    size = ["--frames.height", "64", "--frames.width", "64", "--model.num_frames", "3"]
    flags = {
        "data states": ["--data", str(folder), "--writer", name, *size],
        "prepare": ["--data", str(folder), "--states", name, "--out", str(tmp_path / "cache"),
                    "--backbone", str(tiny_backbone), *size],
        "predict": [str(picture), "push the red ball left", "--states_from", name,
                    "--num_steps", "1", "--out", str(tmp_path / "x.mp4"),
                    "--backbone", str(tiny_backbone), "--model",
                    str(write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config))],
    }  # fmt: skip
    assert aid.cli.main([*command.split(), *flags[command]]) == 0
    shown = shown_to(server, model)
    assert len(shown) == 1, "asked once, by the command and by what it calls"
    assert np.array_equal(shown[0], expected)


def test_the_sheet_shows_the_frame_that_training_sees(turned):
    folder, expected, _ = turned
    size = ["--frames.height", "64", "--frames.width", "64"]
    assert states_command(folder, "--writer", "tabletop-rules", *size) == 0
    sheet = np.array(Image.open(folder / "states/tabletop-rules/sheet.png"))
    large = Image.fromarray(expected).resize((160, 160), Image.Resampling.NEAREST)
    assert np.array_equal(sheet[8:168, 8:168], np.array(large))


def test_each_window_gets_states_and_they_are_not_written_into_the_manifest(data, capsys):
    flags = ["--writer", "tabletop-rules", "--frames.fps", "2", "--model.num_frames", "2"]
    assert states_command(data, *flags) == 0
    assert states_command(data, *flags, "--into_manifest") == 2
    assert "cuts windows" in capsys.readouterr().err


def said_of(row_id, instruction, *states, failure="", scene=0):
    row = VideoRow(id=row_id, video=f"{row_id}.mp4", instruction=instruction, num_frames=2, fps=1.0,
                   height=8, width=8, world={"scene": scene})  # fmt: skip
    return RowStates(
        row, WrittenStates(list(states), failure, f"{failure}: why" if failure else "")
    )


def test_the_report_counts_faults():
    told = [
        said_of("a", SAID[0], "the gripper moves", "the block has moved"),
        said_of(
            "b", SAID[1], "The gripper moves.", "A block has moved"
        ),  # ignores the instruction, as does a
        said_of("c", SAID[1], "the gripper moves", "the block has moved", scene=1),  # another scene
        said_of("d", SAID[2], "it falls", "It falls!"),  # twice the same
        said_of("e", SAID[2], "Drop the red block", "it lies"),  # repeats
        said_of("f", SAID[2], failure="refusal"),
        said_of("g", SAID[2], failure="too few"),
        said_of("h", SAID[2], failure="too few"),
    ]
    report = make_report(told, choose_state_writer("tabletop-rules"))
    assert (report.num_videos, report.with_states) == (8, 5)
    assert report.failures == {"too few": 2, "refusal": 1}
    assert [one["id"] for one in report.failed] == ["f", "g", "h"]
    assert (report.ignoring_instruction, report.with_duplicates, report.repeating) == (2, 1, 1)
    assert json.loads(json.dumps(report.to_json()))["ignoring_instruction"] == 2
    assert "3 (2 too few, 1 refusal)" in report.to_text()


@pytest.mark.parametrize(
    ("state", "is_repetition"),
    [
        ("Push the red block to the left.", True),
        ("push red block to left", True),
        ("the gripper pushes the red block", False),
        ("the red block has moved to the left", False),
        ("", False),
    ],
)
def test_a_state_with_the_words_of_the_instruction_repeats_it(state, is_repetition):
    assert repeats(state, SAID[0]) is is_repetition


def states_command(data, *flags):
    return aid.cli.main(["data", "states", "--data", str(data), *flags])


def test_the_command_writes_report_and_sheet_from_a_column(data, capsys):
    assert states_command(data, "--writer", "column:told", "--samples", "2") == 0
    folder = data / "states" / "column-told"
    assert json.loads((folder / "report.json").read_text())["with_states"] == 3
    sheet = np.array(Image.open(folder / "sheet.png"))
    assert sheet.shape[1] == 900
    assert (sheet == (200, 30, 30)).all(-1).any(), "the red square of the frame is on it"
    assert (sheet == (32, 64, 128)).all(-1).any(), "and so are states in their colour"
    assert "videos           3, 3 with states" in capsys.readouterr().out
    assert read_manifest(data)[0].states == []


def test_states_go_into_a_manifest_that_has_none_and_into_no_other(data, capsys):
    flags = ["--writer", "column:told", "--into_manifest"]
    assert states_command(data, *flags) == 0
    row = read_manifest(data)[2]
    assert [state.text for state in row.states] == ["one", "two2"]
    assert (row.state_writer, row.states_see) == ("column:told", "video")
    assert states_command(data, *flags) == 2
    assert "has states of its own" in capsys.readouterr().err


def test_prepare_requests_missing_states_and_uses_stored_ones(data, server):
    name = f"server:{server}/v1#good?states=2"
    rows = read_manifest(data)
    replay = recorded_states(data, rows[:2], name, FrameConfig(), 2)
    assert (replay.name, replay.sees) == (
        f"server:{server}/v1#good?prompt=1&states=2",
        "first_frame",
    )
    written = replay.write([], [row.instruction for row in rows[:2]])
    assert written[1] == ["It begins with lift the red block", "It is done"]
    asked = len((data / "states" / "answers.jsonl").read_text().splitlines())
    assert states_command(data, "--writer", name) == 0
    answers_file = (data / "states" / "answers.jsonl").read_text().splitlines()
    assert (asked, len(answers_file)) == (2, 3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--writer", "column:mood"], "no video has a column 'mood'.*scene, told"),
        (["--writer", "column:scene"], "neither a list of sentences nor a text"),
        (["--writer", "oracle"], "no state writer is called 'oracle'"),
        (["--writer", "replay"], "wrote nothing that can be used"),
        (["--writer", "none", "--samples", "0"], "samples must be at least 1"),
        (["--writer", "smollm2", "--asking.concurrency", "0"], "concurrency must be at least 1"),
    ],
)
def test_an_error_is_one_sentence(data, flags, words, capsys):
    assert states_command(data, *flags) == 2
    assert re.search(words, capsys.readouterr().err)
