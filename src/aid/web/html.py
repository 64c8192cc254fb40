"""Pieces of HTML that Gradio has no component for. All text from outside is escaped here.

Videos and pictures stand in the page itself as data, so there is no file of the server to name.
"""

import base64
import io
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aid.predict import Prediction
from aid.video import write_mp4
from aid.web.studio import Status

SMALL = 256
"""Pixels of height below which a video is shown with visible pixels, not blurred."""


def grid(captions: Sequence[str], predictions: Sequence[Prediction], num_columns: int) -> str:
    """Videos side by side with captions and states, `num_columns` in a row where they fit."""
    figures = "".join(
        f'<figure class="aid-cell"><video src="{_video_data(one)}" '
        f'class="{crispness(one.frames.shape[1])}" autoplay loop muted playsinline controls '
        f'aria-label="Predicted video: {escape(caption)}"></video>'
        f"<figcaption><b>{escape(caption)}</b>"
        f"<small>{escape(' / '.join(one.states) or 'no states')}</small></figcaption></figure>"
        for caption, one in zip(captions, predictions, strict=True)
    )
    return f'<div class="aid-grid" style="--columns: {num_columns}">{figures}</div>'


def strip(video: UInt8[np.ndarray, "f H W 3"], words: str, most: int = 8) -> str:
    """Frames of a video, evenly spread, in one row that wraps."""
    chosen = np.linspace(0, len(video) - 1, min(most, len(video))).round().astype(int)
    images = "".join(_image(video[i], f"{words}, frame {i + 1} of {len(video)}") for i in chosen)
    return f'<div class="aid-strip">{images}</div>'


def progress(status: Status) -> str:
    """How far a request is, and a preview while there is one."""
    if status.is_stopping:
        return '<p class="aid-status">Stopping after this step.</p>'
    if status.is_reading:
        return '<p class="aid-status">Reading the file.</p>'
    if not status.total:
        others = f"{status.ahead} request{'s' * (status.ahead != 1)}"
        return f'<p class="aid-status">Waiting: {others} before yours.</p>'
    preview = "" if status.preview is None else strip(status.preview, "preview")
    return (
        f'<p class="aid-status">Drawing: step {status.done} of {status.total} '
        f'<progress max="{status.total}" value="{status.done}" aria-label="sampling steps">'
        f"</progress></p>{preview}"
    )


def notes(lines: Sequence[str]) -> str:
    """Remarks about a result."""
    return "".join(f'<p class="aid-note">{escape(line)}</p>' for line in lines)


def error(message: str) -> str:
    """What went wrong; screen readers read it out."""
    sentence = message[:1].upper() + message[1:]
    return f'<p class="aid-error" role="alert">{escape(sentence)}</p>'


def crispness(height: int) -> str:
    """The CSS class for a video or picture of that height in pixels."""
    return "aid-crisp" if height < SMALL else "aid-smooth"


def _video_data(prediction: Prediction) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_mp4(path, prediction.frames, prediction.fps)
        return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _image(pixels: UInt8[np.ndarray, "H W 3"], words: str) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<img class="{crispness(len(pixels))}" alt="{escape(words)}" '
        f'src="data:image/png;base64,{data}">'
    )
