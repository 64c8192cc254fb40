"""One frame, several videos side by side: instructions, words, guidance or checkpoints."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from aid.video import contact_sheet, fit, write_png
from aid.web import comparing, fragments
from aid.web.asking import Column, Wish, checked_wish, ends_all, told, visitor_of
from aid.web.fragments import Cell
from aid.web.jobs import News
from aid.web.studio import Ask, Drawn, Studio

Make = Callable[..., list[Ask]]
SHEET_SIDE = 128


def build_compare_tab(studio: Studio, column: Column, asked: gr.State, folder: Path) -> None:
    """Draws the tab.

    Args:
        studio: draws.
        column: says what.
        asked: suggestions for the frame, to start from.
        folder: for results; below Gradio's own.
    """
    sampler = studio.first.predictor.sampler
    with gr.Tabs(elem_id="kinds"):
        with gr.Tab("Instructions"):
            lines = gr.Textbox(
                "\n".join(asked.value), lines=4, elem_id="lines",
                label=f"Instructions, one a line (2 to {comparing.MOST_INSTRUCTIONS})",
                info="Each gets its own states; the frame, the seed and the settings are shared.",
            )  # fmt: skip
            by_instruction = gr.Button("Compare instructions", variant="primary")
        with gr.Tab("True, shuffled, empty"):
            other = gr.Textbox(
                "".join(asked.value[-1:]), label="Another instruction", elem_id="other",
                info="A model that listens draws something else for it, and for no words at all.",
            )  # fmt: skip
            by_words = gr.Button("Compare true, shuffled and empty", variant="primary")
        with gr.Tab("s_V x s_T"):
            with gr.Row():
                image = gr.Textbox(
                    f"1, {sampler.image_guidance:g}", label="Values of s_V", elem_id="s-v"
                )
                text = gr.Textbox(
                    f"1, {sampler.text_guidance:g}", label="Values of s_T", elem_id="s-t"
                )
            by_guidance = gr.Button("Draw the grid", variant="primary")
        with gr.Tab("Two checkpoints", visible=len(studio.models) > 1):
            gr.Markdown(f"{' and '.join(studio.models)}: each at its own size and with its states.")
            by_model = gr.Button("Compare checkpoints", variant="primary")
    stop = gr.Button("Stop", elem_id="stop-comparing", size="sm")
    status = gr.HTML(elem_id="compare-status")
    shown = gr.HTML(elem_id="cells")
    download = gr.DownloadButton(
        "Download PNG sheet", interactive=False, elem_id="download-cells", size="sm"
    )

    def compare(
        make: Make, has_own_words: bool, request: gr.Request, *values: Any
    ) -> Iterator[dict]:
        asks: list[Ask] = []
        number = len(column.inputs)

        def news() -> Iterator[News | Drawn]:
            wish: Wish = checked_wish(studio, *values[:number], may_be_empty=has_own_words)
            asks.extend(make(studio, wish, *values[number:]))
            yield from studio.draw(visitor_of(request), wish.frame, asks)

        def finish(drawn: Drawn) -> dict:
            cells = comparing.cells_of(asks, drawn)
            columns = len({ask.settings.text_guidance for ask in asks})
            return {
                status: fragments.note(drawn.notes),
                shown: fragments.grid(cells, columns if columns > 1 else min(3, len(cells))),
                download: gr.DownloadButton(value=sheet_of(cells, folder), interactive=True),
            }

        yield from told(status, news(), finish)

    def handler(make: Make, has_own_words: bool = False) -> Callable[..., Iterator[dict]]:
        def handle(request: gr.Request, *values: Any) -> Iterator[dict]:
            yield from compare(make, has_own_words, request, *values)

        return handle

    buttons = [
        (by_instruction, handler(comparing.instructions, has_own_words=True), [lines]),
        (by_words, handler(comparing.words), [other]),
        (by_guidance, handler(comparing.guidance), [image, text]),
        (by_model, handler(comparing.checkpoints), []),
    ]
    private = {"api_visibility": "private", "show_progress": "hidden"}
    for button, handle, own in buttons:
        button.click(
            handle, [*column.inputs, *own], [status, shown, download], concurrency_limit=None,
            **private,
        )  # fmt: skip
    asked.change(lambda said: ("\n".join(said), said[-1]), asked, [lines, other], **private)
    ends_all(stop, studio)


def sheet_of(cells: Sequence[Cell], folder: Path) -> str:
    """The path of a contact sheet with a row for each video, all at the first one's size."""
    place = folder / secrets.token_hex(8)
    place.mkdir(parents=True)
    height, width = cells[0].video.shape[1:3]
    rows = [
        (cell.caption, np.stack([fit(frame, height, width) for frame in cell.video]))
        for cell in cells
    ]
    path = place / "comparison.png"
    write_png(path, contact_sheet(rows, scale=max(1, SHEET_SIDE // height)))
    return str(path)
