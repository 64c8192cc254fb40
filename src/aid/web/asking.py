"""The left column of the page: a frame, an instruction, its states, and how to draw."""

import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from jaxtyping import UInt8

from aid.video import read_image
from aid.web import fragments
from aid.web.jobs import CRASHED, Crashed, News, RequestStopped
from aid.web.limits import (
    MAX_SEED,
    Settings,
    checked_instruction,
    checked_lines,
    checked_settings,
    checked_text,
    shown,
)
from aid.web.polite import polite
from aid.web.studio import Ask, Drawn, Model, Studio
from aid.web.turns import Visitor


def upload(**settings: Any) -> gr.File:
    """A file as the visitor's browser or program sends it; nothing is decoded or fetched here.

    Methods of the one object, because Gradio writes a file beside the source of every subclass.
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


@dataclass(frozen=True, kw_only=True)
class Column:
    """The components that say what to draw, in the order in which handlers take their values."""

    frame: gr.File
    instruction: gr.Textbox
    states: gr.Textbox
    keep: gr.Checkbox
    model: gr.Radio
    steps: gr.Slider
    image_guidance: gr.Slider
    text_guidance: gr.Slider
    seed: gr.Number

    @property
    def inputs(self) -> list[gr.components.Component]:
        """All of them."""
        return list(vars(self).values())


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The values of a `Column`, checked. `states` None lets the state writer say them."""

    frame: Path | None
    instruction: str
    states: list[str] | None
    model: Model
    settings: Settings

    def ask(self, caption: str, instruction: str, states: list[str] | None = None) -> Ask:
        """A video of this model with these settings."""
        return Ask(
            caption=caption,
            model=self.model,
            instruction=instruction,
            states=states,
            settings=self.settings,
        )


def checked_wish(
    studio: Studio,
    frame: Path | None,
    instruction: Any,
    states: Any,
    keep: Any,
    model: Any,
    steps: Any,
    image_guidance: Any,
    text_guidance: Any,
    seed: Any,
    may_be_empty: bool = False,
) -> Wish:
    """What a visitor wants.

    Args:
        studio: knows models and limits.
        frame: the uploaded file.
        instruction: any value, like the following ones.
        states: one a line; used word for word if `keep`.
        keep: whether the states are the visitor's own.
        model: a name.
        steps: sampling steps.
        image_guidance: s_V.
        text_guidance: s_T.
        seed: of the noise.
        may_be_empty: whether there may be no instruction.

    Raises:
        ValueError: a value cannot be used.
    """
    limits = studio.limits
    if not isinstance(model, str) or model not in studio.models:
        raise ValueError(f"no model is called {shown(model)}. Known: {', '.join(studio.models)}.")
    if may_be_empty:
        words = checked_text("instruction", instruction, limits)
    else:
        words = checked_instruction(instruction, limits)
    return Wish(
        frame=frame,
        instruction=words,
        states=checked_lines("state", states, limits, limits.states) if keep else None,
        model=studio.models[model],
        settings=checked_settings(
            limits,
            steps=steps,
            image_guidance=image_guidance,
            text_guidance=text_guidance,
            seed=seed,
        ),
    )


def visitor_of(request: gr.Request) -> Visitor:
    """Who asks, for the queue."""
    address = request.client.host if request.client else ""
    return address, request.session_hash or ""


def ends_all(stop: gr.Button, studio: Studio) -> None:
    """Lets a button end all that a visitor waits for.

    The request that is ended says so itself, as its last news. Gradio's own `cancels` let news that
    was on its way overwrite what the button said, and a page that had stopped went on "drawing".
    """

    def on_stop(request: gr.Request) -> None:
        studio.turns.cancel(visitor_of(request))

    stop.click(
        on_stop, None, None, api_visibility="private", show_progress="hidden",
        concurrency_limit=None,
    )  # fmt: skip


def told(
    status: gr.HTML, news: Iterator[News | Drawn], finish: Callable[[Drawn], dict]
) -> Iterator[dict]:
    """News of a request as updates of the page, then what `finish` makes of its videos."""
    try:
        for one in news:
            yield finish(one) if isinstance(one, Drawn) else {status: fragments.progress(one)}
    except RequestStopped:
        yield {status: fragments.note(["Stopped."])}
    except (ValueError, Crashed) as error:
        yield {status: fragments.error(str(error))}
    except Exception:  # the door: what is known of it is for the log, not for the visitor
        traceback.print_exc()
        yield {status: fragments.error(CRASHED)}


def build_column(studio: Studio, folder: Path) -> tuple[Column, gr.State]:
    """Draws the left column; also gives the suggestions for the frame that was picked last.

    Args:
        studio: whose models and limits it offers.
        folder: for copies of the example frames; below Gradio's own.
    """
    pictures = [read_image(one.frame) for one in studio.examples]
    folder.mkdir(exist_ok=True)
    examples = [
        replace(one, frame=Path(shutil.copyfile(one.frame, folder / f"{number}.png")))
        for number, one in enumerate(studio.examples)
    ]
    first, limits = studio.first.predictor, studio.limits
    sampler = first.sampler
    frame_at_first, suggested, states_at_first, seen_at_first = None, [], "", ""
    if examples:
        frame_at_first, suggested = examples[0].frame, examples[0].instructions
        with suppress(ValueError):  # Predict will say what is wrong
            seen_at_first = _seen(studio.given(frame_at_first, studio.first))
            states_at_first = "\n".join(studio.states(frame_at_first, suggested[0]))

    gr.HTML("<h2>1. A first frame</h2>")
    gallery = gr.Gallery(
        pictures, label="First frames to pick from", format="png", object_fit="cover",
        columns=4, height="auto", allow_preview=False, interactive=False, show_label=False,
        selected_index=0 if examples else None, elem_id="examples", buttons=[],
        visible=bool(examples),
    )  # fmt: skip
    frame = upload(value=_as_value(frame_at_first), label="Frame", visible="hidden")
    frame.keep_in_cache.update(str(one.frame) for one in examples)
    own = "Or your own image or video" if examples else "An image or a video"
    gr.HTML(f"<p class='aid-note'>{own}, {limits.megabytes} MB at most:</p>")
    with gr.Row():
        with gr.Column(scale=3, min_width=180):
            drop = upload(label="Image or video", show_label=False, height=130, elem_id="drop")
        with gr.Column(scale=1, min_width=100):
            seen = gr.HTML(seen_at_first, elem_id="seen")
    gr.HTML("<h2>2. What should happen</h2>")
    instruction = gr.Textbox(
        suggested[0] if suggested else "", label="Instruction", lines=1,
        placeholder="Say what should happen", max_length=limits.characters, elem_id="instruction",
    )  # fmt: skip
    ideas = gr.Dataset(
        components=[instruction], samples=[[one] for one in suggested], label="Suggestions",
        elem_id="ideas", visible=bool(examples),
    )  # fmt: skip
    asked = gr.State(suggested)
    states = gr.Textbox(
        states_at_first, label="States the video passes through, one a line", lines=4,
        elem_id="states",
        info="Said anew for every prediction, unless you tick the box below.",
    )  # fmt: skip
    with gr.Row():
        keep = gr.Checkbox(label="Use my states, word for word", elem_id="keep")
        again = gr.Button("Say the states", size="sm", elem_id="say", scale=0, min_width=130)
    model = gr.Radio(
        list(studio.models), value=studio.first.name, label="Model", elem_id="model",
        visible=len(studio.models) > 1,
    )  # fmt: skip
    with gr.Accordion("Settings", open=False):
        steps = gr.Slider(
            1, limits.steps, min(sampler.num_steps, limits.steps), step=1, label="Sampling steps"
        )
        image_guidance = gr.Slider(
            0, 15, sampler.image_guidance, step=0.1, label="s_V: how closely to follow the frame"
        )
        text_guidance = gr.Slider(
            0, 15, sampler.text_guidance, step=0.1, label="s_T: how closely to follow the words"
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)

    def see(request: gr.Request, path: Path | None) -> str:
        if path is None:
            return ""
        try:
            pixels = studio.given(path, studio.first, visitor_of(request))
        except ValueError as error:
            return fragments.error(str(error))
        return _seen(pixels)

    def take(path: Path | None) -> tuple[Any, Any, Any]:
        """The uploaded file as the frame; the place for the next one is empty again."""
        return _as_value(path), None, gr.Dataset(visible=False)

    def say(request: gr.Request, path: Path | None, said: Any, kept: Any) -> Any:
        if kept or not isinstance(said, str):
            return gr.skip()  # an answer would undo what was typed since
        try:
            words = checked_text("instruction", said, limits)
            return "\n".join(studio.states(path, words, visitor_of(request)))
        except ValueError:
            return ""  # Predict will say what is wrong

    def pick(event: gr.SelectData) -> tuple:
        number = event.index if isinstance(event.index, int) else -1
        if not 0 <= number < len(examples):
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        said = examples[number].instructions
        ideas = gr.Dataset(samples=[[one] for one in said], visible=True)
        return str(examples[number].frame), ideas, said[0], said

    private = {"api_visibility": "private", "show_progress": "hidden"}
    saying = {"fn": polite(say), "inputs": [frame, instruction, keep], "outputs": states, **private}
    gallery.select(polite(pick), None, [frame, ideas, instruction, asked], **private).then(**saying)
    frame.change(polite(see), frame, seen, **private)
    drop.upload(polite(take), drop, [frame, drop, ideas], **private)
    ideas.click(lambda row: row[0], ideas, instruction, **private).then(**saying)
    again.click(**saying)
    column = Column(
        frame=frame, instruction=instruction, states=states, keep=keep, model=model, steps=steps,
        image_guidance=image_guidance, text_guidance=text_guidance, seed=seed,
    )  # fmt: skip
    return column, asked


def _seen(pixels: UInt8[np.ndarray, "k H W 3"]) -> str:
    picture = fragments.strip(pixels, "the given frames as the model sees them")
    return f"{picture}<p class='aid-note'>What the model sees.</p>"


def _as_value(path: Path | None) -> str | None:
    return None if path is None else str(path)
