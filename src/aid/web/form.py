"""The left column of the page: a frame, an instruction, its states and the settings."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from jaxtyping import UInt8

from aid.video import read_image
from aid.web import html
from aid.web.errors import with_messages
from aid.web.limits import MAX_SEED, checked_text
from aid.web.queue import Visitor
from aid.web.studio import Studio

PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
"""Of an event that is no part of the HTTP interface."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """The components that handlers read; `suggestions` are instructions for the chosen frame."""

    frame: gr.File
    instruction: gr.Textbox
    states: gr.Textbox
    keep: gr.Checkbox
    settings: list[gr.components.Component]
    suggestions: gr.State

    @property
    def inputs(self) -> list[gr.components.Component]:
        """Frame, instruction, states, keep; then model, steps, s_V, s_T and seed."""
        return [self.frame, self.instruction, self.states, self.keep, *self.settings]


def upload(**settings: Any) -> gr.File:
    """A file as the visitor's browser or program sends it; nothing is decoded or fetched here.

    It changes methods of one object, because Gradio writes a file beside the source of a subclass.
    """
    made = gr.File(**settings)
    move = made.async_move_resource_to_block_cache

    async def move_unless_address(path: Any) -> str | None:
        if "://" in str(path):  # this server asks no other one
            raise gr.Error("links are not fetched. Upload the file itself.", print_exception=False)
        return await move(path)

    made.async_move_resource_to_block_cache = move_unless_address
    made.preprocess = lambda payload: None if payload is None else Path(payload.path)
    return made


def visitor_of(request: gr.Request) -> Visitor:
    """Who sent a request, for the queue."""
    address = request.client.host if request.client else ""
    return address, request.session_hash or ""


def build_form(studio: Studio, folder: Path) -> Form:
    """The column, with the first example chosen.

    Args:
        studio: whose models, limits and examples it offers.
        folder: for copies of the example frames; below Gradio's own.

    Raises:
        ValueError: an example frame cannot be read.
    """
    limits, sampler = studio.limits, studio.first.predictor.sampler
    pictures = [read_image(one.path) for one in studio.examples]
    folder.mkdir(exist_ok=True)
    frames = [
        shutil.copyfile(one.path, folder / f"{number}.png")
        for number, one in enumerate(studio.examples)
    ]
    instructions = [one.instructions for one in studio.examples]
    suggested = instructions[0] if instructions else []
    states_at_start, seen_at_start = "", ""
    if frames:
        with suppress(ValueError):  # Predict will say what is wrong
            seen_at_start = _seen(studio.given(frames[0], studio.first))
            states_at_start = "\n".join(studio.states(frames[0], suggested[0]))

    gr.HTML("<h2>1. A first frame</h2>")
    gallery = gr.Gallery(
        pictures,
        label="Example frames",
        format="png",
        object_fit="cover",
        columns=4,
        height="auto",
        allow_preview=False,
        interactive=False,
        show_label=False,
        selected_index=0 if frames else None,
        elem_id="examples",
        buttons=[],
        visible=bool(frames),
    )
    frame = upload(value=str(frames[0]) if frames else None, label="Frame", visible="hidden")
    frame.keep_in_cache.update(map(str, frames))  # else the clean-up would delete what was picked
    own = "Or your own image or video" if frames else "An image or a video"
    gr.HTML(f"<p class='aid-note'>{own}, {limits.megabytes} MB at most:</p>")
    with gr.Row():
        with gr.Column(scale=3, min_width=180):
            drop = upload(label="Image or video", show_label=False, height=130, elem_id="drop")
        with gr.Column(scale=1, min_width=100):
            seen = gr.HTML(seen_at_start, elem_id="seen")

    gr.HTML("<h2>2. What should happen</h2>")
    instruction = gr.Textbox(
        "".join(suggested[:1]),
        label="Instruction",
        lines=1,
        placeholder="What should happen?",
        max_length=limits.characters,
        elem_id="instruction",
    )
    ideas = gr.Dataset(
        components=[instruction],
        samples=[[one] for one in suggested],
        label="Suggestions",
        elem_id="ideas",
        visible=bool(frames),
    )
    suggestions = gr.State(suggested)
    states = gr.Textbox(
        states_at_start,
        label="States of the video, one a line",
        lines=4,
        elem_id="states",
        info="Written anew for every prediction, unless you tick the box below.",
    )
    with gr.Row():
        keep = gr.Checkbox(label="Use my states, word for word", elem_id="keep")
        write = gr.Button("Write states", size="sm", elem_id="write", scale=0, min_width=130)
    model = gr.Radio(
        list(studio.models),
        value=studio.first.name,
        label="Model",
        elem_id="model",
        visible=len(studio.models) > 1,
    )
    with gr.Accordion("Settings", open=False):
        num_steps = gr.Slider(
            1,
            limits.num_steps,
            min(sampler.num_steps, limits.num_steps),
            step=1,
            label="Sampling steps",
        )
        image_guidance = gr.Slider(
            0, 15, sampler.image_guidance, step=0.1, label="s_V: how closely to follow the frame"
        )
        text_guidance = gr.Slider(
            0,
            15,
            sampler.text_guidance,
            step=0.1,
            label="s_T: how closely to follow the instruction",
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)

    def show(request: gr.Request, path: Path | None) -> str:
        if path is None:
            return ""
        try:
            return _seen(studio.given(path, studio.first, visitor_of(request)))
        except ValueError as error:
            return html.error(str(error))

    def write_states(request: gr.Request, path: Path | None, words: Any, kept: Any) -> Any:
        if kept or not isinstance(words, str):
            return gr.skip()  # an answer would undo what was typed since
        try:
            words = checked_text("instruction", words, limits)
            return "\n".join(studio.states(path, words, visitor_of(request)))
        except ValueError:
            return ""  # Predict will say what is wrong

    def pick(event: gr.SelectData) -> tuple:
        number = event.index if isinstance(event.index, int) else -1
        if not 0 <= number < len(frames):
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        said = instructions[number]
        offered = gr.Dataset(samples=[[one] for one in said], visible=True)
        return str(frames[number]), offered, said[0], said

    def take(path: Path | None) -> tuple[str | None, None, Any]:
        """The uploaded file becomes the frame, and the drop zone is free for the next one."""
        return None if path is None else str(path), None, gr.Dataset(visible=False)

    writing = {
        "fn": with_messages(write_states),
        "inputs": [frame, instruction, keep],
        "outputs": states,
        **PRIVATE,
    }
    gallery.select(
        with_messages(pick), None, [frame, ideas, instruction, suggestions], **PRIVATE
    ).then(**writing)
    drop.upload(with_messages(take), drop, [frame, drop, ideas], **PRIVATE)
    frame.change(with_messages(show), frame, seen, **PRIVATE)
    ideas.click(lambda row: row[0], ideas, instruction, **PRIVATE).then(**writing)
    write.click(**writing)
    return Form(
        frame=frame,
        instruction=instruction,
        states=states,
        keep=keep,
        settings=[model, num_steps, image_guidance, text_guidance, seed],
        suggestions=suggestions,
    )


def _seen(pixels: UInt8[np.ndarray, "k H W 3"]) -> str:
    picture = html.strip(pixels, "the given frames as the model sees them")
    return f"{picture}<p class='aid-note'>What the model sees.</p>"
