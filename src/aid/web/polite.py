"""What a stranger is told of an error: a sentence for theirs, no word of ours."""

import functools
import traceback
from collections.abc import Callable
from typing import Any

import gradio as gr

from aid.web.jobs import CRASHED


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
