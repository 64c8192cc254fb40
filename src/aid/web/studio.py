"""What the page can do, without the page: draw one video or several, in fair turns.

The tabs and the HTTP interface call `Studio.draw` with a list of `Ask`s. All drawing is
`Predictor`'s; here are the models, the queue and the news of a request on its way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aid.config import Precision
from aid.predict import Prediction, Predictor, state_writer_of
from aid.predict.frames import fit_given
from aid.video.confined import Cancelled, readers
from aid.web.jobs import NEWS_EVERY, News, Progress, RequestStopped, follow, hearing
from aid.web.limits import Limits, Settings
from aid.web.turns import Ticket, Turns, Visitor
from aid.web.uploads import Uploads


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded checkpoint."""

    name: str
    predictor: Predictor

    @classmethod
    def load(
        cls,
        name: str,
        backbone: str | None = None,
        device: str | None = None,
        *,
        states_from: str | None = None,
        precision: Precision = "float32",
        offload: bool = False,
    ) -> "Model":
        """The checkpoint of that name or folder, its states by the writer `states_from`.

        The other arguments are `Predictor.from_pretrained`'s.
        """
        predictor = Predictor.from_pretrained(
            name, backbone, device, state_writer=state_writer_of(name, states_from, device=device),
            precision=precision, offload=offload,
        )  # fmt: skip
        shown = Path(name).resolve()
        # Never the whole path: visitors read this.
        short = f"{shown.parent.name}/{shown.name}" if Path(name).is_dir() else name
        return cls(name=short, predictor=predictor)

    @property
    def num_given_frames(self) -> int:
        """How many frames the model wants to see."""
        return self.predictor.num_given_frames


@dataclass(frozen=True, kw_only=True)
class Example:
    """A first frame that the page offers, and instructions for it."""

    frame: Path
    instructions: list[str]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One video to draw. `states` None means: as the model's own state writer says."""

    caption: str
    model: Model
    instruction: str
    states: list[str] | None
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The videos, one for each `Ask`, and what there is to say about them."""

    predictions: list[Prediction]
    notes: list[str]


class Studio:
    """Models, queue and uploads of one server.

    Args:
        models: one, or two to compare; the first is the default.
        limits: what visitors may ask.
        examples: frames and instructions that the page offers; the first is chosen when it opens.
    """

    def __init__(
        self, models: Sequence[Model], limits: Limits, examples: Sequence[Example] = ()
    ) -> None:
        self.examples = list(examples)
        self.models = {model.name: model for model in models}
        self.limits = limits
        self.uploads = Uploads(limits)
        self.turns = Turns(limits.waiting, limits.waiting_each)
        readers().start()

    @property
    def first(self) -> Model:
        """The model that is asked unless another one is named."""
        return next(iter(self.models.values()))

    def given(
        self,
        path: Path | None,
        model: Model,
        visitor: Visitor = ("", ""),
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> UInt8[np.ndarray, "k H W 3"]:
        """The given frames in an uploaded file as a model reads them: its number, rate and size.

        Args:
            path: of the uploaded file.
            model: for which they are.
            visitor: who asks, for fairness.
            is_cancelled: whether the visitor has gone; then the reading ends.

        Raises:
            ValueError: the file cannot be read, or holds too few frames.
            Cancelled: the visitor has gone.
        """
        predictor, wanted = model.predictor, model.num_given_frames
        fps = predictor.fps if wanted > 1 else None
        frames = self.uploads.read(path, wanted, fps=fps, owner=visitor, is_cancelled=is_cancelled)
        if len(frames) < wanted:
            raise ValueError(
                f"the model {model.name!r} reads {wanted} given frames, {predictor.fps:g} a "
                f"second, and the file holds {len(frames)}. Upload a video that begins with them."
            )
        return fit_given(list(frames), predictor.height, predictor.width)

    def states(self, path: Path | None, instruction: str, visitor: Visitor = ("", "")) -> list[str]:
        """What the first model's state writer says, before anything is drawn.

        Args:
            path: of the uploaded file.
            instruction: what should happen.
            visitor: who asks, for fairness.

        Raises:
            ValueError: the writer looks at frames and there is none, or it cannot be read.
        """
        predictor = self.first.predictor
        if predictor.state_writer.sees == "text":
            frame = np.zeros((predictor.height, predictor.width, 3), np.uint8)
        else:
            frame = self.given(path, self.first, visitor)[0]
        return predictor.states_for(frame, instruction)

    def draw(self, visitor: Visitor, frame: Path | None, asks: list[Ask]) -> Iterator[News | Drawn]:
        """News until the videos are there; they come last.

        Closing the iterator takes the request out of the queue, or stops it at its next step.

        Args:
            visitor: who asks, for fairness.
            frame: an uploaded image or video.
            asks: what to draw.

        Raises:
            ValueError: the frame or the asks cannot be used, or the queue is full.
            RequestStopped: the visitor ended it.
            Crashed: a fault of ours.
        """
        if not 1 <= len(asks) <= self.limits.videos:
            raise ValueError(
                f"{len(asks)} videos were asked for; the limit is {self.limits.videos} at once."
            )
        ticket = self.turns.arrive(visitor)
        is_running = False
        try:
            yield News(is_reading=True)
            # Before it has a turn, so that nobody waits for a file that takes long.
            given, notes = self._given(frame, asks, ticket)
            self.turns.line_up(ticket)
            while not self.turns.wait(ticket, NEWS_EVERY):
                if ticket.is_cancelled and self.turns.is_closed:
                    raise ValueError("the studio is closing.")
                if ticket.is_cancelled:
                    raise RequestStopped
                yield News(ahead=self.turns.ahead(ticket))
            is_running = True
            yield from follow(
                ticket,
                sum(ask.settings.num_steps for ask in asks),
                lambda progress: _drawn(given, asks, progress, notes),
                at_end=lambda: self.turns.leave(ticket),
            )
        finally:
            ticket.is_cancelled = True
            if not is_running:  # else the thread gives the place back, once it has stopped
                self.turns.leave(ticket)

    def _given(
        self, frame: Path | None, asks: list[Ask], ticket: Ticket
    ) -> tuple[dict[str, UInt8[np.ndarray, "..."]], list[str]]:
        """The given frames by model, at its size (waiting requests hold no others), and notes."""
        models = {ask.model.name: ask.model for ask in asks}
        with hearing() as notes:
            try:
                given = {
                    name: self.given(frame, model, ticket.visitor, lambda: ticket.is_cancelled)
                    for name, model in models.items()
                }
            except Cancelled:
                raise RequestStopped from None
        return given, notes


def _drawn(
    given: dict[str, UInt8[np.ndarray, "..."]],
    asks: list[Ask],
    progress: Progress,
    notes: list[str],
) -> Drawn:
    with hearing() as more:
        predictions = [_predict(ask, given[ask.model.name], progress) for ask in asks]
    return Drawn(predictions=predictions, notes=list(dict.fromkeys([*notes, *more])))


def _predict(ask: Ask, given: UInt8[np.ndarray, "k H W 3"], progress: Progress) -> Prediction:
    """One video, as `Predictor` draws it; unlike there, no instruction at all is allowed."""
    predictor, settings = ask.model.predictor, ask.settings
    states = ask.states
    if states is None:
        states = predictor.states_for(given[0], ask.instruction)
    sampler = predictor.sampler_with(
        settings.num_steps, settings.image_guidance, settings.text_guidance
    )
    videos = predictor.predict_many(
        [given],
        [ask.instruction],
        [settings.seed],
        states=[states],
        sampler=sampler,
        on_preview=progress.step,
    )
    return Prediction(
        videos=videos,
        given=given,
        instruction=ask.instruction,
        states=states,
        state_writer=predictor.state_writer.name if ask.states is None else "caller",
        seed=settings.seed,
        sampler=sampler,
        fps=predictor.fps,
    )
