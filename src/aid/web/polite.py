"""What a stranger is told of an error: a sentence for theirs, no word of ours."""

import functools
import traceback
from collections.abc import Callable
from typing import Any

import gradio as gr

from aid.web.jobs import CRASHED

MALFORMED = (
    "what was sent cannot be read: the frame must be a file that was uploaded here, as "
    '{"path": ..., "meta": {"_type": "gradio.FileData"}}, and no value may be left out.'
)


def polite(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with errors that a stranger may read; a fault of ours goes to the log."""

    @functools.wraps(function)
    def call(*values: Any) -> Any:
        try:
            return function(*values)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except gr.Error:
            raise
        except Exception:
            traceback.print_exc()
            raise gr.Error(CRASHED, print_exception=False) from None

    return call


def refuses_politely(page: gr.Blocks) -> None:
    """Lets a page say in a sentence that what was sent has not the form of its inputs.

    Gradio answers such a call without a word: a frame that is no file of an upload, for example.
    """
    read = page.preprocess_data

    async def read_or_say(*values: Any, **named: Any) -> Any:
        try:
            return await read(*values, **named)
        except gr.Error:
            raise
        except Exception:  # whatever Gradio's checks raise
            raise gr.Error(MALFORMED, print_exception=False) from None

    page.preprocess_data = read_or_say
