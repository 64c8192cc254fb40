"""One frame and one instruction: the video, its frames and its files."""

import secrets
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import gradio as gr

from aid.predict import Prediction
from aid.web import fragments
from aid.web.asking import Column, checked_wish, ends_all, told, visitor_of
from aid.web.jobs import News
from aid.web.studio import Drawn, Studio

KINDS = ("mp4", "gif", "png")


def files_of(prediction: Prediction, folder: Path) -> list[str]:
    """The prediction as mp4, GIF and contact sheet, in a folder whose name cannot be guessed."""
    place = folder / secrets.token_hex(8)
    place.mkdir(parents=True)
    return [str(prediction.save(place / f"prediction.{kind}")[0]) for kind in KINDS]


def build_predict_tab(studio: Studio, column: Column, folder: Path) -> None:
    """Draws the tab.

    Args:
        studio: draws.
        column: says what.
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
        label="Predicted video", loop=True, autoplay=True, interactive=False, elem_id="video",
        elem_classes=_crispness(studio), buttons=[],
    )  # fmt: skip
    strip = gr.HTML(elem_id="strip")
    with gr.Row():
        downloads = [
            gr.DownloadButton(
                f"Download {word}", interactive=False, elem_id=f"download-{kind}", size="sm"
            )
            for kind, word in zip(KINDS, ("mp4", "GIF", "PNG sheet"), strict=True)
        ]
    outputs = [status, video, strip, column.states, *downloads]

    def finish(drawn: Drawn) -> dict:
        (prediction,) = drawn.predictions
        files = files_of(prediction, folder)
        said = {column.states: "\n".join(prediction.states)}
        ready = [gr.DownloadButton(value=file, interactive=True) for file in files]
        return {
            status: fragments.note([facts_of(prediction), *drawn.notes]),
            video: files[0],
            strip: fragments.strip(prediction.frames, prediction.instruction or "no instruction"),
            # The caller's own may have been changed while this was drawn.
            **({} if prediction.state_writer == "caller" else said),
            **dict(zip(downloads, ready, strict=True)),
        }

    def on_predict(request: gr.Request, *values: Any) -> Iterator[dict]:
        def news() -> Iterator[News | Drawn]:
            wish = checked_wish(studio, *values)
            ask = wish.ask(wish.instruction, wish.instruction, wish.states)
            yield from studio.draw(visitor_of(request), wish.frame, [ask])

        yield from told(status, news(), finish)

    gr.on(
        [button.click, column.instruction.submit], on_predict, column.inputs, outputs,
        api_visibility="private", show_progress="hidden", concurrency_limit=None,
    )  # fmt: skip
    ends_all(stop, studio)


def facts_of(prediction: Prediction) -> str:
    """How a video was drawn, in a line."""
    sampler = prediction.sampler
    where = "" if sampler.guidance_interval == (0, inf) else f" (only at {sampler.guided_at})"
    return (
        f"{sampler.num_steps} steps, s_V {sampler.image_guidance:g}, s_T "
        f"{sampler.text_guidance:g}{where}, seed {prediction.seed}; states by "
        f"{prediction.state_writer}."
    )


def _crispness(studio: Studio) -> str:
    small = studio.first.predictor.height < fragments.SMALL
    return "aid-crisp" if small else "aid-smooth"
