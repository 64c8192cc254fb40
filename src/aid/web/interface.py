"""The HTTP interface: `/predict`, `/compare` and `/states`, with the page's limits and queue.

Gradio serves and documents it; docs/studio.md has examples for curl and Python. Refusals are its
error events, in the same words as on the page.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from aid.web.errors import with_messages
from aid.web.form import upload, visitor_of
from aid.web.limits import checked_text
from aid.web.requests import comparison, video_request
from aid.web.studio import Result, Status, Studio, VideoRequest
from aid.web.tabs import KINDS, files_of, sheet_of


def build_interface(studio: Studio, folder: Path) -> None:
    """Adds the end points to the page, without anything to see.

    Args:
        studio: draws.
        folder: for results; below Gradio's own.
    """
    sampler, limits = studio.first.predictor.sampler, studio.limits
    with gr.Group(visible=False):
        frame = upload(label="frame")
        instruction, kind = _as_sent("instruction"), _as_sent("kind")
        options, states = _as_sent("options"), _as_sent("states")
        settings = [
            _as_sent("model", studio.first.name),
            _as_sent("num_steps", min(sampler.num_steps, limits.num_steps)),
            _as_sent("image_guidance", sampler.image_guidance),
            _as_sent("text_guidance", sampler.text_guidance),
            _as_sent("seed", 0),
        ]
        files = [gr.File(label=name) for name in KINDS]
        sheet, facts = gr.File(label="sheet"), gr.JSON(label="facts")
        written = gr.JSON(label="states")

    def draw(request: gr.Request, path: Path | None, videos: list[VideoRequest]) -> Result:
        (result,) = [
            one
            for one in studio.draw(visitor_of(request), path, videos)
            if not isinstance(one, Status)
        ]
        return result

    # The names of the arguments are those of the interface.
    def predict(
        request: gr.Request,
        frame: Any,
        instruction: Any,
        states: Any = None,
        model: Any = None,
        num_steps: Any = None,
        image_guidance: Any = None,
        text_guidance: Any = None,
        seed: Any = None,
    ) -> tuple:
        """The video of what happens next: mp4, GIF, contact sheet and how they were made."""
        video = video_request(
            studio, instruction, states, model, num_steps, image_guidance, text_guidance, seed
        )
        result = draw(request, frame, [video])
        return *files_of(result.predictions[0], folder), _facts([video], result)[0]

    def compare(
        request: gr.Request,
        frame: Any,
        kind: Any,
        instruction: Any,
        options: Any = None,
        states: Any = None,
        model: Any = None,
        num_steps: Any = None,
        image_guidance: Any = None,
        text_guidance: Any = None,
        seed: Any = None,
    ) -> tuple:
        """A contact sheet of several videos, and how each was made."""
        values = (instruction, states, model, num_steps, image_guidance, text_guidance, seed)
        videos = comparison(studio, kind, options, *values)
        result = draw(request, frame, videos)
        captions = [one.caption for one in videos]
        return sheet_of(captions, result.predictions, folder), _facts(videos, result)

    def write_states(request: gr.Request, frame: Any, instruction: Any) -> list[str]:
        """The states that `/predict` would use."""
        words = checked_text("instruction", instruction, limits)
        return studio.states(frame, words, visitor_of(request))

    hidden = gr.Button(visible=False)
    hidden.click(
        with_messages(predict),
        [frame, instruction, states, *settings],
        [*files, facts],
        api_name="predict",
        concurrency_limit=None,
    )
    hidden.click(
        with_messages(compare),
        [frame, kind, instruction, options, states, *settings],
        [sheet, facts],
        api_name="compare",
        concurrency_limit=None,
    )
    hidden.click(with_messages(write_states), [frame, instruction], written, api_name="states")


def _as_sent(label: str, value: Any = None) -> gr.JSON:
    """A value as it was sent; the functions above check it and say what is wrong.

    It changes methods of one object for the same reason as `form.upload`.
    """
    made = gr.JSON(label=label)
    made.value, made.data_model = value, None
    made.preprocess = made.postprocess = lambda sent: sent
    return made


def _facts(videos: list[VideoRequest], result: Result) -> list[dict[str, Any]]:
    return [
        {
            "caption": video.caption or video.instruction,
            "model": video.model.name,
            "instruction": prediction.instruction,
            "understood": prediction.understood and str(prediction.understood),
            "states": prediction.states,
            "state_writer": prediction.state_writer,
            "settings": asdict(video.settings),
            "fps": prediction.fps,
            "notes": result.notes,
        }
        for video, prediction in zip(videos, result.predictions, strict=True)
    ]
