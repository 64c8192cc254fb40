"""Pieces of HTML that Gradio has no component for. All text from outside is escaped here.

Videos and pictures stand in the page itself as data, so there is no file of the server to name.
"""

import base64
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aid.video import write_mp4
from aid.web.jobs import News

SMALL = 256  # pixels of height below which a video is shown with visible pixels, not blurred


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One video of a comparison. `detail` is a line below the caption."""

    caption: str
    video: UInt8[np.ndarray, "f H W 3"]
    fps: float
    detail: str = ""


def grid(cells: Sequence[Cell], num_columns: int = 3) -> str:
    """Videos side by side, as many in a row as fit; they loop without sound."""
    figures = "".join(
        f'<figure class="aid-cell"><video src="{video_data(cell.video, cell.fps)}" '
        f'class="{_crisp(cell.video)}" autoplay loop muted playsinline controls '
        f'aria-label="Predicted video: {escape(cell.caption)}"></video>'
        f"<figcaption><b>{escape(cell.caption)}</b>"
        f"{f'<small>{escape(cell.detail)}</small>' if cell.detail else ''}</figcaption></figure>"
        for cell in cells
    )
    return f'<div class="aid-grid" style="--columns: {num_columns}">{figures}</div>'


def strip(video: UInt8[np.ndarray, "f H W 3"], words: str, most: int = 8) -> str:
    """Frames of a video, evenly spread, in one row that wraps."""
    chosen = np.linspace(0, len(video) - 1, min(most, len(video))).round().astype(int)
    images = "".join(_image(video[i], f"{words}, frame {i + 1} of {len(video)}") for i in chosen)
    return f'<div class="aid-strip">{images}</div>'


def progress(news: News) -> str:
    """How far a request is, and a preview while there is one."""
    if news.is_stopping:
        return '<p class="aid-status">Stopping after this step.</p>'
    if news.is_reading:
        return '<p class="aid-status">Reading the file.</p>'
    if not news.total:
        others = f"{news.ahead} request{'s' * (news.ahead != 1)}"
        return f'<p class="aid-status">Waiting: {others} before yours.</p>'
    shown = "" if news.preview is None else strip(news.preview, "preview")
    return (
        f'<p class="aid-status">Drawing: step {news.done} of {news.total} '
        f'<progress max="{news.total}" value="{news.done}" aria-label="sampling steps">'
        f"</progress></p>{shown}"
    )


def note(lines: Sequence[str]) -> str:
    """What there is to say about a result."""
    return "".join(f'<p class="aid-note">{escape(line)}</p>' for line in lines)


def error(words: str) -> str:
    """What went wrong, read out by screen readers."""
    sentence = words[:1].upper() + words[1:]
    return f'<p class="aid-error" role="alert">{escape(sentence)}</p>'


def video_data(video: UInt8[np.ndarray, "f H W 3"], fps: float) -> str:
    """The video as a data address of an mp4."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_mp4(path, video, fps)
        return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _image(pixels: UInt8[np.ndarray, "H W 3"], words: str) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<img class="{_crisp(pixels[None])}" alt="{escape(words)}" '
        f'src="data:image/png;base64,{data}">'
    )


def _crisp(video: UInt8[np.ndarray, "f H W 3"]) -> str:
    return "aid-crisp" if video.shape[1] < SMALL else "aid-smooth"
