"""What a visitor reads when something fails: a sentence, and never what only the log may hold."""

import functools
import traceback
from collections.abc import Callable
from typing import Any

import gradio as gr

from aid.web.studio import CRASHED

MALFORMED = (
    "what was sent cannot be read: the frame must be a file that was uploaded here, as "
    '{"path": ..., "meta": {"_type": "gradio.FileData"}}, and no value may be left out.'
)


def with_messages(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its errors as messages: a `ValueError` in its words, others in the log."""

    @functools.wraps(function)
    def call(*values: Any) -> Any:
        try:
            return function(*values)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(message_of(error), print_exception=False) from None

    return call


def message_of(error: Exception) -> str:
    """What a visitor reads of an error."""
    if isinstance(error, ValueError):
        return str(error)
    traceback.print_exception(error)
    return CRASHED


def explain_malformed_calls(page: gr.Blocks) -> None:
    """Lets a page say what is wrong with a call that does not fit its inputs.

    Gradio answers such a call without a word, for example where a frame is no uploaded file.
    """
    preprocess = page.preprocess_data

    async def preprocess_or_explain(*values: Any, **named: Any) -> Any:
        try:
            return await preprocess(*values, **named)
        except gr.Error:
            raise
        except Exception:  # whatever Gradio's checks raise
            raise gr.Error(MALFORMED, print_exception=False) from None

    page.preprocess_data = preprocess_or_explain
