"""What the page can do, without the page: draw one video or several for many visitors.

The tabs and the HTTP interface call `Studio.draw` with a list of `VideoRequest`s. All drawing is
`Predictor`'s; here are the models, the queue and the status of a request.
"""

import queue
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aid.config import Precision
from aid.predict import Prediction, Predictor, state_writer_of
from aid.predict.frames import fit_given
from aid.predict.predictor import Look
from aid.video.confined import Cancelled, readers
from aid.web.limits import Limits, Settings
from aid.web.queue import Queue, Ticket, Visitor
from aid.web.uploads import Uploads
from aid.worlds import FirstFrame, Understood

PREVIEW_FRAMES = 4
PREVIEW_EVERY = 0.7
"""Seconds; decoding a preview takes time from the video."""
STATUS_EVERY = 0.4
"""Seconds between two looks at the queue, or at whether somebody pressed Stop."""
CRASHED = "something went wrong here; it is in the server's log. The studio goes on: try again."
_warnings = threading.local()


class RequestStopped(ValueError):
    """The visitor pressed Stop or left, or the studio is closing."""

    def __init__(self) -> None:
        super().__init__("the request was stopped.")


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
        understand: bool = True,
    ) -> "Model":
        """The checkpoint of that name or folder, its states by the writer `states_from`.

        The other arguments are `Predictor.from_pretrained`'s.
        """
        predictor = Predictor.from_pretrained(
            name,
            backbone,
            device,
            state_writer=state_writer_of(name, states_from, device=device),
            precision=precision,
            offload=offload,
            understand=understand,
        )
        folder = Path(name).resolve()
        # Visitors read the name, so it is never the whole path.
        short = f"{folder.parent.name}/{folder.name}" if Path(name).is_dir() else name
        return cls(name=short, predictor=predictor)

    @property
    def num_given_frames(self) -> int:
        """How many frames the model is given."""
        return self.predictor.num_given_frames


@dataclass(frozen=True, kw_only=True)
class VideoRequest:
    """One video to draw. `states` None lets the model's state writer write them."""

    model: Model
    instruction: str
    states: list[str] | None
    settings: Settings
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a request is: `ahead` others come first, or `done` of `total` sampling steps.

    A request that `is_stopping` was cancelled and finishes its step. While its file `is_reading`,
    it has no place in the queue yet.
    """

    ahead: int = 0
    done: int = 0
    total: int = 0
    is_stopping: bool = False
    is_reading: bool = False
    preview: UInt8[np.ndarray, "n H W 3"] | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """The videos, one for each `VideoRequest`, and notes about them."""

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
        self, models: Sequence[Model], limits: Limits, examples: Sequence[FirstFrame] = ()
    ) -> None:
        self.models = {model.name: model for model in models}
        self.limits = limits
        self.examples = list(examples)
        self.uploads = Uploads(limits)
        self.queue = Queue(limits.waiting, limits.waiting_each)
        readers().start()

    @property
    def first(self) -> Model:
        """The model that draws unless another one is named."""
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
            visitor: who sent it; files are read in fair turns, too.
            is_cancelled: whether the visitor has left; then the reading ends.

        Raises:
            ValueError: the file cannot be read, or holds too few frames.
            Cancelled: the visitor has left.
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
        """The states that the first model's state writer writes for a frame and an instruction.

        Args:
            path: of the uploaded file; None where the writer reads the instruction only.
            instruction: what should happen.
            visitor: as for `given`.

        Raises:
            ValueError: the writer needs a frame and there is none, it cannot be read, or the
                instruction was not understood.
        """
        predictor = self.first.predictor
        if predictor.state_writer.sees == "text":
            frame = np.zeros((predictor.height, predictor.width, 3), np.uint8)
        else:
            frame = self.given(path, self.first, visitor)[0]
        understood = predictor.understand(frame, instruction)
        return predictor.states_for(frame, understood.instruction)

    def draw(
        self, visitor: Visitor, frame: Path | None, requests: list[VideoRequest]
    ) -> Iterator[Status | Result]:
        """The status of a request as it changes, and last its videos.

        Closing the iterator takes the request out of the queue, or stops it at its next step.

        Args:
            visitor: who asks.
            frame: an uploaded image or video.
            requests: the videos to draw.

        Raises:
            ValueError: the frame or the requests cannot be used, the queue is full, or the drawing
                failed, which is in the log; the message is for the visitor.
            RequestStopped: the visitor ended it.
        """
        if not 1 <= len(requests) <= self.limits.videos:
            raise ValueError(
                f"{len(requests)} videos were asked for; the limit is {self.limits.videos} at once."
            )
        ticket = self.queue.enter(visitor)
        updates: queue.SimpleQueue[Status | Result | ValueError] = queue.SimpleQueue()
        threading.Thread(
            target=self._work, args=(ticket, frame, requests, updates.put), daemon=True
        ).start()
        is_stopping = False
        try:
            while True:
                try:
                    update = updates.get(timeout=STATUS_EVERY)
                except queue.Empty:
                    if ticket.is_cancelled and not is_stopping:
                        is_stopping = True
                        yield Status(is_stopping=True)
                    continue
                if isinstance(update, ValueError):
                    raise update
                yield update
                if isinstance(update, Result):
                    return
        finally:
            ticket.is_cancelled = True

    def _work(
        self,
        ticket: Ticket,
        frame: Path | None,
        requests: list[VideoRequest],
        tell: Callable[[Status | Result | ValueError], None],
    ) -> None:
        """Reads the frame, waits for the ticket's turn and draws; tells the status, then the end.

        The frame is read before the request waits, so that nobody waits for a file that takes long.
        """
        try:
            tell(Status(is_reading=True))
            with collected_warnings() as notes:
                given = {
                    model.name: self.given(
                        frame, model, ticket.visitor, lambda: ticket.is_cancelled
                    )
                    for model in {one.model.name: one.model for one in requests}.values()
                }
                understood = [
                    one.model.predictor.understand(given[one.model.name][0], one.instruction)
                    for one in requests
                ]
                self.queue.line_up(ticket)
                while not self.queue.wait(ticket, STATUS_EVERY):
                    _raise_if_cancelled(ticket)
                    tell(Status(ahead=self.queue.ahead(ticket)))
                step = _Steps(ticket, sum(one.settings.num_steps for one in requests), tell)
                predictions = [
                    _predict(one, words, given[one.model.name], step)
                    for one, words in zip(requests, understood, strict=True)
                ]
            _raise_if_cancelled(ticket)
            tell(Result(predictions=predictions, notes=list(dict.fromkeys(notes))))
        except Cancelled:
            tell(RequestStopped())
        except ValueError as error:
            tell(error)
        except BaseException:
            traceback.print_exc()
            tell(ValueError(CRASHED))
        finally:
            self.queue.leave(ticket)


class _Steps:
    """Counts sampling steps and tells the status, with a preview now and then."""

    def __init__(self, ticket: Ticket, total: int, tell: Callable[[Status], None]) -> None:
        self.ticket, self.total, self.tell = ticket, total, tell
        self.done, self.preview_at, self.preview = 0, 0.0, None

    def __call__(self, look: Look) -> None:
        """One more step is done; `look` decodes frames of the video as it is now.

        Raises:
            Cancelled: the request was cancelled.
        """
        _raise_if_cancelled(self.ticket)
        self.done += 1
        if self.done < self.total and time.monotonic() - self.preview_at > PREVIEW_EVERY:
            self.preview, self.preview_at = look(PREVIEW_FRAMES)[0], time.monotonic()
        self.tell(Status(done=self.done, total=self.total, preview=self.preview))


def _raise_if_cancelled(ticket: Ticket) -> None:
    if ticket.is_cancelled:
        raise Cancelled


def _predict(
    request: VideoRequest,
    understood: Understood,
    given: UInt8[np.ndarray, "k H W 3"],
    on_step: Callable[[Look], None],
) -> Prediction:
    """One video, as `Predictor` draws it; unlike there, no instruction at all is allowed."""
    predictor, settings, states = request.model.predictor, request.settings, request.states
    if states is None:
        states = predictor.states_for(given[0], understood.instruction)
    sampler = predictor.sampler_with(
        settings.num_steps, settings.image_guidance, settings.text_guidance
    )
    videos = predictor.predict_many(
        [given],
        [understood.instruction],
        [settings.seed],
        states=[states],
        sampler=sampler,
        on_preview=on_step,
    )
    return Prediction(
        videos=videos,
        given=given,
        instruction=request.instruction,
        states=states,
        state_writer=predictor.state_writer.name if request.states is None else "caller",
        seed=settings.seed,
        sampler=sampler,
        fps=predictor.fps,
        understood=understood if predictor.understands else None,
    )


def show_warnings_to_visitors() -> None:
    """From now on a warning is a note of the request whose thread it is of, else in the log."""
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = _collect_or_print


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The warnings of this thread during the block.

    `warnings.catch_warnings` would collect those of all threads, so of other visitors.
    """
    _warnings.collected = []
    try:
        yield _warnings.collected
    finally:
        del _warnings.collected


def _collect_or_print(message: Warning | str, category: type[Warning], *_: object) -> None:
    if hasattr(_warnings, "collected") and issubclass(category, UserWarning):
        _warnings.collected.append(str(message))
    else:
        print(f"warning: {message}", file=sys.stderr)
