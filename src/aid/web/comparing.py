"""Which videos a comparison consists of. Everything but what is compared stays the same."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aid.web.asking import Wish
from aid.web.fragments import Cell
from aid.web.limits import checked_instruction, checked_lines, checked_numbers
from aid.web.studio import Ask, Drawn, Studio

KINDS = ("instructions", "words", "guidance", "checkpoints")
MOST_INSTRUCTIONS = 6
MOST_GUIDANCES = 4


def instructions(studio: Studio, wish: Wish, lines: Any) -> list[Ask]:
    """One video for each instruction; the states of each are the state writer's.

    Raises:
        ValueError: fewer than two, too many, or one is too long.
    """
    said = checked_lines("instruction", lines, studio.limits, MOST_INSTRUCTIONS)
    if len(said) < 2:
        raise ValueError("give two instructions or more, one a line.")
    return [wish.ask(one, one) for one in said]


def words(studio: Studio, wish: Wish, other: Any) -> list[Ask]:
    """Told the instruction, another one, and nothing: whoever obeys the words draws three videos.

    Raises:
        ValueError: there is no other instruction, or it is the same.
    """
    another = checked_instruction(other, studio.limits)
    if another == wish.instruction:
        raise ValueError("the other instruction is the same. Give a different one.")
    return [
        wish.ask(f"true: {wish.instruction}", wish.instruction, wish.states),
        wish.ask(f"shuffled: {another}", another),
        wish.ask("empty: told nothing", "", []),
    ]


def guidance(studio: Studio, wish: Wish, image: Any, text: Any) -> list[Ask]:
    """A grid: a row for each s_V, in it a video for each s_T.

    Raises:
        ValueError: no numbers, or more videos than the limit.
    """
    rows = checked_numbers("s_V", image, MOST_GUIDANCES)
    columns = checked_numbers("s_T", text, MOST_GUIDANCES)
    return [
        replace(
            wish.ask(f"s_V {s_v:g}, s_T {s_t:g}", wish.instruction, wish.states),
            settings=replace(wish.settings, image_guidance=s_v, text_guidance=s_t),
        )
        for s_v in rows
        for s_t in columns
    ]


def checkpoints(studio: Studio, wish: Wish) -> list[Ask]:
    """The same wish to each model, which draws at its own size with its own state writer.

    Raises:
        ValueError: only one model is loaded.
    """
    if len(studio.models) < 2:
        raise ValueError("there is one checkpoint only. Start the studio with --rival FOLDER.")
    return [
        replace(wish.ask(name, wish.instruction, wish.states), model=model)
        for name, model in studio.models.items()
    ]


def cells_of(asks: Sequence[Ask], drawn: Drawn) -> list[Cell]:
    """The videos with their captions and states."""
    return [
        Cell(
            caption=ask.caption,
            video=made.frames,
            fps=made.fps,
            detail=" / ".join(made.states) or "no states",
        )
        for ask, made in zip(asks, drawn.predictions, strict=True)
    ]
