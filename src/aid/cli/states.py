"""`aid data states`, and what other commands need of it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from aid.cli.terminal import progress_bar
from aid.config import (
    AskingConfig,
    FrameConfig,
    ModelConfig,
)

if TYPE_CHECKING:
    import numpy as np

    from aid.conditioning.states import StateWriter
    from aid.states import FirstFrames
    from aid.types import VideoRow


def states(
    data: Path,
    writer: str,
    limit: int | None = None,
    samples: int = 16,
    into_manifest: bool = False,
    asking: AskingConfig | None = None,
    model: ModelConfig | None = None,
    frames: FrameConfig | None = None,
    device: str | None = None,
) -> None:
    """Writes the states of all videos of a data set, once. Run again, it resumes where it stopped.

    Args:
        data: folder with a manifest.jsonl; answers and report go into its folder `states`.
        writer: who writes them: vlm:MODEL, server:URL#MODEL, smollm2, column:KEY, tabletop-rules,
            replay (see docs/states.md).
        limit: only the first so many videos.
        samples: videos on the sheet that is written for people to check.
        into_manifest: also write the states into the manifest, if it has none of its own.
        asking: settings of the questions to a language model.
        model: the recipe's; a language model is shown the first frame that training sees of each
            window of `num_frames`.
        frames: as for `aid prepare`: which frames training sees, at which size.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
    """
    from aid.conditioning.states import choose_state_writer
    from aid.data.manifest import read_manifest, write_manifest
    from aid.data.store import Store
    from aid.data.windows import cut_windows
    from aid.models.devices import choose_device
    from aid.states import make_report, rows_with_states, write_states
    from aid.states.report import write_sheet
    from aid.states.writing import ANSWERS_FILE
    from aid.video import remove_leftovers

    device = str(choose_device(device))
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}.")
    rows = read_manifest(data)
    if into_manifest and (limit is not None or any(row.states for row in rows)):
        raise ValueError(
            f"the manifest in {str(data)!r} has states of its own, or --limit leaves some out. "
            "--into_manifest is for whole data sets without states; without it nothing is lost."
        )
    frames, num_frames = frames or FrameConfig(), (model or ModelConfig()).num_frames
    if into_manifest and frames.rate(num_frames) is not None:
        raise ValueError(
            "--into_manifest writes the states of whole videos, and frames.fps or frames.seconds "
            "cuts windows. Leave one of the two out; `aid prepare` finds what was answered anyway."
        )
    rows = cut_windows(rows[:limit], frames, num_frames)
    chosen = choose_state_writer(writer, rows, data / ANSWERS_FILE, asking, device)
    shown = _shown(rows, frames, num_frames)
    with progress_bar("states") as on_row:
        told = write_states(data, rows, chosen, shown, on_row)
    report = make_report(told, chosen)
    folder = (data / ANSWERS_FILE).parent / re.sub(r"[^\w.=-]+", "-", chosen.name).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    for place in (data, folder):
        remove_leftovers(place, "*")
    Store(folder).write_json("report.json", report.to_json())
    write_sheet(folder / "sheet.png", data, told, samples, shown)
    print(report.to_text())
    print(folder / "report.json")
    print(folder / "sheet.png")
    if report.with_states == 0:
        raise ValueError(
            f"{chosen.name!r} wrote nothing that can be used. The answers are in "
            f"{str(folder / 'report.json')!r}."
        )
    if into_manifest:
        write_manifest(data, rows_with_states(told, chosen))
        print(data / "manifest.jsonl")


def _shown(rows: list["VideoRow"], frames: FrameConfig, num_frames: int) -> "FirstFrames":
    """The frames and the size of videos that `aid prepare` takes."""
    from aid.data.windows import common_size
    from aid.states import FirstFrames

    height, width = common_size(rows, frames)
    return FirstFrames(frames=frames, num_frames=num_frames, height=height, width=width)


def recorded_states(
    data: Path,
    rows: list["VideoRow"],
    name: str,
    frames: FrameConfig,
    num_frames: int,
    device: str | None = None,
) -> "StateWriter":
    """A state writer for exactly these rows; a language model is queried for all of them now.

    So its memory is free before anything else is loaded; its answers are kept with the data.

    Args:
        data: folder of the videos.
        rows: as they are encoded.
        name: of the state writer.
        frames: which frames training sees.
        num_frames: of a video.
        device: where a language model on this machine computes.
    """
    from aid.conditioning.language_model import LanguageModelStateWriter
    from aid.conditioning.states import ReplayStateWriter, choose_state_writer
    from aid.states import make_report, rows_with_states, write_states
    from aid.states.writing import ANSWERS_FILE

    writer = choose_state_writer(name, rows, data / ANSWERS_FILE, device=device)
    if not isinstance(writer, LanguageModelStateWriter):
        return writer
    with progress_bar("states") as on_row:
        told = write_states(data, rows, writer, _shown(rows, frames, num_frames), on_row)
    print(make_report(told, writer).to_text())
    return ReplayStateWriter(rows_with_states(told, writer))


def ask_first(writer: "StateWriter", frames: list["np.ndarray"], instructions: list[str]) -> None:
    """Asks a language model before a video model is loaded; its answers stay, its weights go.

    Args:
        writer: the state writer.
        frames: the first given frame of each video, as the video model is given it.
        instructions: one for each frame.

    Raises:
        ValueError: it cannot answer, or the user has to name a writer.
    """
    from aid.conditioning.language_model import LanguageModelStateWriter
    from aid.conditioning.states import UnavailableStateWriter, release

    if isinstance(writer, UnavailableStateWriter):
        writer.write(frames, instructions)
    if isinstance(writer, LanguageModelStateWriter):
        writer.ask(frames, instructions)
        release(writer)


def ask_about(
    writer: "StateWriter",
    data: Path,
    rows: list["VideoRow"],
    shown: "FirstFrames",
) -> None:
    """Likewise about the videos of a data set; its answers are kept in the writer's book.

    Args:
        writer: the state writer.
        data: folder of the videos.
        rows: as they are evaluated.
        shown: what it sees of a video, as the video model is given it.
    """
    from aid.conditioning.language_model import LanguageModelStateWriter
    from aid.conditioning.states import UnavailableStateWriter
    from aid.states import write_states

    if isinstance(writer, UnavailableStateWriter):
        writer.write([], [])
    if isinstance(writer, LanguageModelStateWriter):
        with progress_bar("states") as on_row:
            write_states(data, rows, writer, shown, on_row)
