"""The HTTP interface: `/predict`, `/compare` and `/states`, with the page's limits and queue.

Gradio serves and documents it; docs/studio.md has examples for curl and Python. Refusals are its
error events, in the same words as on the page.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from aid.web import comparing
from aid.web.asking import Wish, checked_wish, upload, visitor_of
from aid.web.compare_tab import sheet_of
from aid.web.jobs import News
from aid.web.limits import checked_text, shown
from aid.web.polite import polite
from aid.web.predict_tab import KINDS, files_of
from aid.web.studio import Ask, Drawn, Studio


def plain(label: str, value: Any = None) -> gr.JSON:
    """A value just as it was sent; the functions below check it and say what is wrong.

    Methods of the one object, for the same reason as `asking.upload`.
    """
    made = gr.JSON(label=label)
    made.value, made.data_model = value, None
    made.preprocess = made.postprocess = lambda sent: sent
    return made


def build_interface(studio: Studio, folder: Path) -> None:
    """Adds the end points to the page, without anything to see.

    Args:
        studio: draws.
        folder: for results; below Gradio's own.
    """
    first, limits = studio.first, studio.limits
    sampler = first.predictor.sampler
    with gr.Group(visible=False):
        frame = upload(label="frame")
        instruction, kind = plain("instruction"), plain("kind")
        options, states = plain("options"), plain("states")
        model = plain("model", first.name)
        steps = plain("steps", min(sampler.num_steps, limits.steps))
        image_guidance = plain("image_guidance", sampler.image_guidance)
        text_guidance = plain("text_guidance", sampler.text_guidance)
        seed = plain("seed", 0)
        files = [gr.File(label=name) for name in KINDS]
        sheet, facts, said = gr.File(label="sheet"), gr.JSON(label="facts"), gr.JSON(label="states")

    def wish_of(
        path: Any, words: Any, told: Any, of_model: Any, *settings: Any, may_be_empty: bool = False
    ) -> Wish:
        # Given states are used as they are, an empty list too; None alone has them said.
        keep = told is not None
        return checked_wish(
            studio, path, words, told, keep, of_model, *settings, may_be_empty=may_be_empty
        )

    def drawn(request: gr.Request, path: Path | None, asks: list[Ask]) -> Drawn:
        for one in studio.draw(visitor_of(request), path, asks):
            if not isinstance(one, News):
                return one
        raise AssertionError("draw ends with the videos or with an error")

    def predict(
        request: gr.Request, frame: Any, instruction: Any, states: Any = None, model: Any = None,
        steps: Any = None, image_guidance: Any = None, text_guidance: Any = None, seed: Any = None,
    ) -> tuple:  # fmt: skip
        """The video of what happens next: mp4, GIF, contact sheet and how they were made."""
        wish = wish_of(
            frame, instruction, states, model, steps, image_guidance, text_guidance, seed
        )
        ask = wish.ask(wish.instruction, wish.instruction, wish.states)
        made = drawn(request, wish.frame, [ask])
        return *files_of(made.predictions[0], folder), _facts([ask], made)[0]

    def compare(
        request: gr.Request, frame: Any, kind: Any, instruction: Any, options: Any = None,
        states: Any = None, model: Any = None, steps: Any = None, image_guidance: Any = None,
        text_guidance: Any = None, seed: Any = None,
    ) -> tuple:  # fmt: skip
        """A contact sheet of several videos, and how each was made."""
        wish = wish_of(
            frame, instruction, states, model, steps, image_guidance, text_guidance, seed,
            may_be_empty=kind == "instructions",
        )  # fmt: skip
        asks = _asks(studio, wish, kind, options)
        made = drawn(request, wish.frame, asks)
        return sheet_of(comparing.cells_of(asks, made), folder), _facts(asks, made)

    def say(request: gr.Request, frame: Any, instruction: Any) -> list[str]:
        """The states that `/predict` would use."""
        words = checked_text("instruction", instruction, limits)
        return studio.states(frame, words, visitor_of(request))

    settings = [model, steps, image_guidance, text_guidance, seed]
    hidden = gr.Button(visible=False)
    hidden.click(
        polite(predict), [frame, instruction, states, *settings], [*files, facts],
        api_name="predict", concurrency_limit=None,
    )  # fmt: skip
    hidden.click(
        polite(compare), [frame, kind, instruction, options, states, *settings], [sheet, facts],
        api_name="compare", concurrency_limit=None,
    )  # fmt: skip
    hidden.click(polite(say), [frame, instruction], said, api_name="states")


def _asks(studio: Studio, wish: Wish, kind: Any, options: Any) -> list[Ask]:
    if kind == "instructions":
        return comparing.instructions(studio, wish, options)
    if kind == "words":
        return comparing.words(studio, wish, options)
    if kind == "guidance":
        pair = options if isinstance(options, dict) else {}
        return comparing.guidance(studio, wish, pair.get("s_V"), pair.get("s_T"))
    if kind == "checkpoints":
        return comparing.checkpoints(studio, wish)
    raise ValueError(f"kind must be one of {', '.join(comparing.KINDS)}; got {shown(kind)}.")


def _facts(asks: list[Ask], made: Drawn) -> list[dict[str, Any]]:
    return [
        {
            "caption": ask.caption,
            "model": ask.model.name,
            "instruction": prediction.instruction,
            "states": prediction.states,
            "state_writer": prediction.state_writer,
            "settings": asdict(ask.settings),
            "fps": prediction.fps,
            "notes": made.notes,
        }
        for ask, prediction in zip(asks, made.predictions, strict=True)
    ]
