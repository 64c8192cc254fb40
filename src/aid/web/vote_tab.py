"""A blind A/B vote: two videos, whose is whose is told after the vote."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import isinf
from typing import Any

import gradio as gr
import numpy as np
from jaxtyping import UInt8

from aid.video import fit
from aid.web import fragments
from aid.web.asking import Column, Wish, checked_wish, told, visitor_of
from aid.web.ballots import Ballots, Contender
from aid.web.fragments import Cell
from aid.web.jobs import News
from aid.web.limits import shown
from aid.web.polite import polite
from aid.web.studio import Ask, Drawn, Studio

NOTHING = ", told nothing"
LEFT, RIGHT, TIE = "Left is better", "Right is better", "No difference"


def build_vote_tab(studio: Studio, column: Column, ballots: Ballots) -> None:
    """Draws the tab.

    Args:
        studio: draws.
        column: says what.
        ballots: keeps the votes.
    """
    names = [name + told_what for told_what in ("", NOTHING) for name in studio.models]
    gr.Markdown(
        "Two contenders draw the same frame, instruction and seed. You see left and right; "
        "the sides are drawn by lot for every pair."
    )
    with gr.Row():
        one = gr.Dropdown(names, value=names[0], label="One contender", elem_id="contender-one")
        other = gr.Dropdown(
            names, value=names[1], label="The other contender", elem_id="contender-other"
        )
    draw = gr.Button("Draw a pair", variant="primary", elem_id="draw-pair")
    status = gr.HTML(elem_id="vote-status")
    pair = gr.HTML(elem_id="pair")
    token = gr.State("")
    with gr.Row():
        buttons = [
            gr.Button(words, interactive=False, elem_id=f"vote-{choice}")
            for choice, words in (("left", LEFT), ("tie", TIE), ("right", RIGHT))
        ]

    def draw_pair(request: gr.Request, first: Any, second: Any, *values: Any) -> Iterator[dict]:
        asked: list[tuple[Contender, Ask]] = []
        wishes: list[Wish] = []

        def news() -> Iterator[News | Drawn]:
            wish = checked_wish(studio, *values)
            wishes.append(wish)
            if first == second:
                raise ValueError("the two contenders are the same. Choose two.")
            asked.extend(_contender(studio, wish, name) for name in (first, second))
            if asked[0][0].key == asked[1][0].key:
                raise ValueError("the two contenders are the same model. Choose two that differ.")
            random.SystemRandom().shuffle(asked)  # the order of drawing tells nothing either
            for one in studio.draw(visitor_of(request), wish.frame, [ask for _, ask in asked]):
                # No preview: it would show one of the videos before the other.
                yield replace(one, preview=None) if isinstance(one, News) else one

        def finish(drawn: Drawn) -> dict:
            videos = {c.key: p for (c, _), p in zip(asked, drawn.predictions, strict=True)}
            wish = wishes[0]
            about = {
                "instruction": wish.instruction,
                "states": wish.states,  # None: each model's own
                "seed": wish.settings.seed,
                "frame": hashlib.sha256(wish.frame.read_bytes()).hexdigest()[:16],
            }
            ballot = ballots.issue(asked[0][0], asked[1][0], about)
            sides = [videos[ballot.left.key], videos[ballot.right.key]]
            frames = same_size([side.frames for side in sides])
            cells = [
                Cell(caption=name, video=video, fps=side.fps)
                for name, video, side in zip(("Left", "Right"), frames, sides, strict=True)
            ]
            return {
                status: fragments.note([f"Which video shows “{wish.instruction}” better?"]),
                pair: fragments.grid(cells, 2),
                token: ballot.token,
                **dict.fromkeys(buttons, gr.Button(interactive=True)),
            }

        for update in told(status, news(), finish):
            # Whatever stood there belongs to an earlier pair.
            closed = {token: "", pair: "", **dict.fromkeys(buttons, gr.Button(interactive=False))}
            yield update if token in update else {**closed, **update}

    def vote(choice: str, ticket: Any) -> dict:
        try:
            ballot, tally = ballots.vote(ticket, choice)
        except ValueError as error:
            return {status: fragments.error(str(error))}
        left, right = _described(ballot.left, ballot.right)
        lines = [
            f"Thank you. Left was {left}, right was {right}.",
            tally.sentence(left, right),
        ]
        return {
            status: fragments.note(lines),
            token: "",
            **dict.fromkeys(buttons, gr.Button(interactive=False)),
        }

    private = {"api_visibility": "private", "show_progress": "hidden"}
    draw.click(
        draw_pair, [one, other, *column.inputs], [status, pair, token, *buttons],
        concurrency_limit=None, **private,
    )  # fmt: skip
    for button, choice in zip(buttons, ("left", "tie", "right"), strict=True):
        button.click(polite(partial(vote, choice)), token, [status, token, *buttons], **private)


def _contender(studio: Studio, wish: Wish, name: Any) -> tuple[Contender, Ask]:
    """Who competes under that name, and what to ask of it."""
    known = {n + what: (n, what) for n in studio.models for what in ("", NOTHING)}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"no contender is called {shown(name)}.")
    model_name, what = known[name]
    model, settings = studio.models[model_name], wish.settings
    low, high = model.predictor.sampler.guidance_interval
    contender = Contender(
        name=model.name,
        fingerprint=model.fingerprint,
        told="nothing" if what else "the instruction",
        num_steps=settings.num_steps,
        image_guidance=settings.image_guidance,
        text_guidance=settings.text_guidance,
        guidance_interval=(low, None if isinf(high) else high),
    )
    words, states = ("", []) if what else (wish.instruction, wish.states)
    return contender, replace(wish.ask(name, words, states), model=model)


def _described(one: Contender, other: Contender) -> tuple[str, str]:
    names = [c.name + (NOTHING if c.told == "nothing" else "") for c in (one, other)]
    return names[0], names[1]


def same_size(videos: list[UInt8[np.ndarray, "_ _ _ 3"]]) -> list[UInt8[np.ndarray, "_ _ _ 3"]]:
    """The videos at the size of the largest, so that their size does not tell whose they are."""
    height, width = max((video.shape[1:3] for video in videos), key=lambda s: s[0] * s[1])
    return [
        video
        if video.shape[1:3] == (height, width)
        else np.stack([fit(frame, height, width) for frame in video])
        for video in videos
    ]
