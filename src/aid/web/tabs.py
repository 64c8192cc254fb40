"""The tabs at the right: predict one video, or compare several of one frame."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from aid.predict import Prediction
from aid.video import contact_sheet, fit, write_png
from aid.web import html
from aid.web.errors import message_of
from aid.web.form import PRIVATE, Form, visitor_of
from aid.web.requests import MOST_INSTRUCTIONS, comparison, video_request
from aid.web.studio import RequestStopped, Result, Status, Studio, VideoRequest

KINDS = {"mp4": "mp4", "gif": "GIF", "png": "PNG sheet"}
"""Suffixes of a prediction's files, and what the buttons call them."""
SHEET_SIDE = 128
"""Pixels of a frame's height on a contact sheet, about."""


def build_predict_tab(studio: Studio, form: Form, folder: Path) -> None:
    """The tab with one video, its frames and its files.

    Args:
        studio: draws.
        form: what to draw.
        folder: for results; below Gradio's own.
    """
    with gr.Row():
        button = gr.Button("Predict", variant="primary", elem_id="predict")
        stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=90)
    status = gr.HTML(
        "<p class='aid-status'>Press Predict, or choose another frame or instruction first.</p>",
        elem_id="status",
    )
    video = gr.Video(
        label="Predicted video",
        loop=True,
        autoplay=True,
        interactive=False,
        elem_id="video",
        elem_classes=html.crispness(studio.first.predictor.height),
        buttons=[],
    )
    strip = gr.HTML(elem_id="strip")
    with gr.Row():
        downloads = [
            gr.DownloadButton(
                f"Download {name}", interactive=False, elem_id=f"download-{kind}", size="sm"
            )
            for kind, name in KINDS.items()
        ]

    def finish(result: Result) -> dict:
        (prediction,) = result.predictions
        files = files_of(prediction, folder)
        updates = {
            status: html.notes([facts_of(prediction), *result.notes]),
            video: files[0],
            strip: html.strip(prediction.frames, prediction.instruction or "no instruction"),
        }
        if prediction.state_writer != "caller":  # the visitor's own may have been changed since
            updates[form.states] = "\n".join(prediction.states)
        for download, file in zip(downloads, files, strict=True):
            updates[download] = gr.DownloadButton(value=file, interactive=True)
        return updates

    def on_predict(
        request: gr.Request, frame: Path | None, words: Any, states: Any, keep: Any, *settings: Any
    ) -> Iterator[dict]:
        def requested() -> list[VideoRequest]:
            return [video_request(studio, words, states if keep else None, *settings)]

        yield from _updates(studio, request, frame, requested, status, finish)

    gr.on(
        [button.click, form.instruction.submit],
        on_predict,
        form.inputs,
        [status, video, strip, form.states, *downloads],
        concurrency_limit=None,
        **PRIVATE,
    )
    _connect_stop(stop, studio)


def build_compare_tab(studio: Studio, form: Form, folder: Path) -> None:
    """The tab with several videos side by side: instructions, words, guidance or checkpoints.

    Args:
        studio: draws.
        form: what to draw.
        folder: for results; below Gradio's own.
    """
    sampler, suggested = studio.first.predictor.sampler, form.suggestions.value
    with gr.Tabs(elem_id="kinds"):
        with gr.Tab("Instructions"):
            lines = gr.Textbox(
                "\n".join(suggested[:MOST_INSTRUCTIONS]),
                lines=4,
                elem_id="lines",
                label=f"Instructions, one a line (2 to {MOST_INSTRUCTIONS})",
                info="Each gets its own states; the frame, the seed and the settings are shared.",
            )
            by_instructions = gr.Button("Compare instructions", variant="primary")
        with gr.Tab("True, shuffled, empty"):
            other = gr.Textbox(
                "".join(suggested[-1:]),
                label="Another instruction",
                elem_id="other",
                info="Drawn beside the instruction at the left and an empty one. A model that "
                "follows instructions draws three different videos.",
            )
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
            by_checkpoints = gr.Button("Compare checkpoints", variant="primary")
    stop = gr.Button("Stop", elem_id="stop-comparing", size="sm")
    status = gr.HTML(elem_id="compare-status")
    cells = gr.HTML(elem_id="cells")
    download = gr.DownloadButton(
        "Download PNG sheet", interactive=False, elem_id="download-cells", size="sm"
    )

    def handler(kind: str, options_of: Callable[..., Any]) -> Callable[..., Iterator[dict]]:
        def on_compare(
            request: gr.Request,
            frame: Path | None,
            words: Any,
            states: Any,
            keep: Any,
            *values: Any,
        ) -> Iterator[dict]:
            settings, own = values[: len(form.settings)], values[len(form.settings) :]
            drawn: list[VideoRequest] = []

            def requested() -> list[VideoRequest]:
                kept = states if keep else None
                drawn[:] = comparison(studio, kind, options_of(*own), words, kept, *settings)
                return drawn

            def finish(result: Result) -> dict:
                captions = [one.caption for one in drawn]
                columns = len({one.settings.text_guidance for one in drawn})
                columns = columns if columns > 1 else min(3, len(drawn))
                sheet = sheet_of(captions, result.predictions, folder)
                return {
                    status: html.notes(result.notes),
                    cells: html.grid(captions, result.predictions, columns),
                    download: gr.DownloadButton(value=sheet, interactive=True),
                }

            yield from _updates(studio, request, frame, requested, status, finish)

        return on_compare

    for button, kind, options_of, own in (
        (by_instructions, "instructions", lambda given: given, [lines]),
        (by_words, "words", lambda given: given, [other]),
        (by_guidance, "guidance", lambda s_v, s_t: {"s_V": s_v, "s_T": s_t}, [image, text]),
        (by_checkpoints, "checkpoints", lambda: None, []),
    ):
        button.click(
            handler(kind, options_of),
            [*form.inputs, *own],
            [status, cells, download],
            concurrency_limit=None,
            **PRIVATE,
        )
    form.suggestions.change(
        lambda suggested: ("\n".join(suggested[:MOST_INSTRUCTIONS]), suggested[-1]),
        form.suggestions,
        [lines, other],
        **PRIVATE,
    )
    _connect_stop(stop, studio)


def files_of(prediction: Prediction, folder: Path) -> list[str]:
    """The prediction as mp4, GIF and contact sheet, in a folder whose name cannot be guessed."""
    place = folder / secrets.token_hex(8)
    place.mkdir(parents=True)
    return [str(prediction.save(place / f"prediction.{kind}")[0]) for kind in KINDS]


def sheet_of(captions: Sequence[str], predictions: Sequence[Prediction], folder: Path) -> str:
    """The path of a contact sheet with a row for each video, all at the first one's size."""
    place = folder / secrets.token_hex(8)
    place.mkdir(parents=True)
    height, width = predictions[0].frames.shape[1:3]
    rows = [
        (caption, np.stack([fit(frame, height, width) for frame in one.frames]))
        for caption, one in zip(captions, predictions, strict=True)
    ]
    path = place / "comparison.png"
    write_png(path, contact_sheet(rows, scale=max(1, SHEET_SIDE // height)))
    return str(path)


def facts_of(prediction: Prediction) -> str:
    """How a video was drawn, in a line."""
    sampler = prediction.sampler
    said = f"Understood: {prediction.understood}. " if prediction.understood else ""
    where = "" if sampler.guidance_interval == (0, inf) else f" (only at {sampler.guided_at})"
    return (
        f"{said}{sampler.num_steps} steps, s_V {sampler.image_guidance:g}, s_T "
        f"{sampler.text_guidance:g}{where}, seed {prediction.seed}; states by "
        f"{prediction.state_writer}."
    )


def _updates(
    studio: Studio,
    request: gr.Request,
    frame: Path | None,
    requested: Callable[[], list[VideoRequest]],
    status: gr.HTML,
    finish: Callable[[Result], dict],
) -> Iterator[dict]:
    """Updates of the page while a request is drawn, then what `finish` makes of its videos."""
    try:
        for one in studio.draw(visitor_of(request), frame, requested()):
            yield {status: html.progress(one)} if isinstance(one, Status) else finish(one)
    except RequestStopped:
        yield {status: html.notes(["Stopped."])}
    except Exception as error:
        yield {status: html.error(message_of(error))}


def _connect_stop(button: gr.Button, studio: Studio) -> None:
    """Lets a button end all requests of its visitor.

    The request that is ended says so itself, as its last status. With Gradio's own `cancels` a
    status that was on its way overwrites what the button wrote.
    """

    def on_stop(request: gr.Request) -> None:
        studio.queue.cancel(visitor_of(request))

    button.click(on_stop, None, None, concurrency_limit=None, **PRIVATE)
