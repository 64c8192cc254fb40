"""A data set's videos with their states, and the reports of runs."""

import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from aid.video import write_mp4
from aid.web import fragments
from aid.web.browse import DataSet, Runs
from aid.web.polite import polite


def build_data_tab(data: DataSet | None, folder: Path) -> None:
    """Draws the tab of a data set.

    Args:
        data: None says how to show one.
        folder: for copies of videos that a browser can play; below Gradio's own.
    """
    if data is None:
        gr.Markdown("No data set is open. Start with `aid web --data FOLDER` (with a manifest).")
        return
    matches = data.matches("")
    with gr.Row():
        words = gr.Textbox(
            label=f"Search {len(data.rows)} videos", placeholder="push left", elem_id="search",
            info="Shows the rows whose name or instruction holds all the words, 200 at most.",
            min_width=260,
        )  # fmt: skip
        choice = gr.Dropdown(matches, value=None, label="Video", elem_id="row", min_width=260)
    status = gr.HTML(elem_id="row-status")
    with gr.Row():
        video = gr.Video(
            label="The video", loop=True, autoplay=True, interactive=False, buttons=[],
            elem_classes="aid-crisp", elem_id="row-video", min_width=260,
        )  # fmt: skip
        with gr.Column(min_width=260):
            states = gr.HTML(elem_id="row-states")

    def search(said: Any) -> Any:
        return gr.Dropdown(choices=data.matches(str(said)[:200]), value=None)

    def show(number: Any) -> tuple[str, str | None, str]:
        if number is None:
            return "", None, ""
        try:
            row, frames = data.row(number)
        except ValueError as error:
            return fragments.error(str(error)), None, ""
        place = folder / secrets.token_hex(8)
        place.mkdir(parents=True)
        path = place / "video.mp4"
        write_mp4(path, frames, row.fps)  # anew, because browsers do not play lossless RGB
        lines = [
            f"{row.instruction or 'No instruction.'}",
            f"{row.id}: {row.num_frames} frames, {row.width}x{row.height}, {row.fps:g} a second.",
        ]
        return fragments.note(lines), str(path), fragments.state_table(row.states, frames)

    private = {"api_visibility": "private", "show_progress": "hidden"}
    words.change(polite(search), words, choice, **private)
    choice.change(polite(show), choice, [status, video, states], concurrency_limit=2, **private)


def build_runs_tab(runs: Runs | None) -> None:
    """Draws the tab of reports, score cards and sheets; None says how to show some."""
    if runs is None:
        gr.Markdown("No folder of runs is open. Start with `aid web --runs FOLDER`.")
        return
    with gr.Row():
        choice = gr.Dropdown(
            list(runs.documents()), value=None, label="Report, score card or sheet",
            elem_id="document", min_width=260,
        )  # fmt: skip
        again = gr.Button("Look again", scale=0, min_width=160)
    shown = gr.HTML(elem_id="report")

    def show(name: Any) -> str:
        if name is None:
            return ""
        try:
            return fragments.document(*runs.read(name))
        except ValueError as error:
            return fragments.error(str(error))

    private = {"api_visibility": "private", "show_progress": "hidden"}
    choice.change(polite(show), choice, shown, **private)
    again.click(
        lambda: gr.Dropdown(choices=list(runs.documents()), value=None), None, choice, **private
    )
