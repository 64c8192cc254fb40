"""What a visitor sent -> the videos to draw; every value is checked here.

In a comparison everything but what is compared stays the same.
"""

from dataclasses import replace
from typing import Any

from aid.web.limits import (
    checked_instruction,
    checked_lines,
    checked_numbers,
    checked_settings,
    checked_text,
    shown,
)
from aid.web.studio import Studio, VideoRequest

COMPARISONS = ("instructions", "words", "guidance", "checkpoints")
MOST_INSTRUCTIONS = 6
MOST_GUIDANCES = 4


def video_request(
    studio: Studio,
    instruction: Any,
    states: Any,
    model: Any,
    num_steps: Any,
    image_guidance: Any,
    text_guidance: Any,
    seed: Any,
    *,
    may_be_empty: bool = False,
) -> VideoRequest:
    """One video.

    Args:
        studio: knows models and limits.
        instruction: any value, like the following ones.
        states: text with one a line, or a list; used word for word. None lets the state writer
            write them.
        model: a name.
        num_steps: sampling steps.
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
    if states is not None:
        states = checked_lines("state", states, limits, limits.states)
    settings = checked_settings(
        limits,
        num_steps=num_steps,
        image_guidance=image_guidance,
        text_guidance=text_guidance,
        seed=seed,
    )
    return VideoRequest(
        model=studio.models[model], instruction=words, states=states, settings=settings
    )


def comparison(studio: Studio, kind: Any, options: Any, *values: Any) -> list[VideoRequest]:
    """The videos of a comparison.

    Args:
        studio: knows models and limits.
        kind: one of `COMPARISONS`.
        options: what is compared, as the functions below take it.
        *values: those of `video_request`, from `instruction` on.

    Raises:
        ValueError: a value cannot be used.
    """
    base = video_request(studio, *values, may_be_empty=kind == "instructions")
    if kind == "instructions":
        return _instructions(studio, base, options)
    if kind == "words":
        return _words(studio, base, options)
    if kind == "guidance":
        return _guidance(base, options if isinstance(options, dict) else {})
    if kind == "checkpoints":
        return _checkpoints(studio, base)
    raise ValueError(f"kind must be one of {', '.join(COMPARISONS)}; got {shown(kind)}.")


def _instructions(studio: Studio, base: VideoRequest, lines: Any) -> list[VideoRequest]:
    """One video for each instruction, with the states that the state writer writes for it."""
    instructions = checked_lines("instruction", lines, studio.limits, MOST_INSTRUCTIONS)
    if len(instructions) < 2:
        raise ValueError("give two instructions or more, one a line.")
    return [replace(base, caption=one, instruction=one, states=None) for one in instructions]


def _words(studio: Studio, base: VideoRequest, other: Any) -> list[VideoRequest]:
    """The instruction, another one, and none: a model that follows words draws three videos."""
    another = checked_instruction(other, studio.limits)
    if another == base.instruction:
        raise ValueError("the other instruction is the same. Give a different one.")
    return [
        replace(base, caption=f"true: {base.instruction}"),
        replace(base, caption=f"shuffled: {another}", instruction=another, states=None),
        replace(base, caption="empty: no instruction", instruction="", states=[]),
    ]


def _guidance(base: VideoRequest, values: dict[Any, Any]) -> list[VideoRequest]:
    """A grid: a row for each s_V, in it a video for each s_T."""
    rows = checked_numbers("s_V", values.get("s_V"), MOST_GUIDANCES)
    columns = checked_numbers("s_T", values.get("s_T"), MOST_GUIDANCES)
    return [
        replace(
            base,
            caption=f"s_V {s_v:g}, s_T {s_t:g}",
            settings=replace(base.settings, image_guidance=s_v, text_guidance=s_t),
        )
        for s_v in rows
        for s_t in columns
    ]


def _checkpoints(studio: Studio, base: VideoRequest) -> list[VideoRequest]:
    """The same request to each model, which draws at its own size with its own state writer."""
    if len(studio.models) < 2:
        raise ValueError("there is one checkpoint only. Start the studio with --rival FOLDER.")
    return [replace(base, caption=name, model=model) for name, model in studio.models.items()]
