"""Who left: a visitor that stops listening before the answer is there.

Gradio answers over a stream that the visitor opens. When it breaks off, Gradio itself ends what the
page asked for, but what a program asked for it would finish for nobody, while others wait.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from aid.web.turns import Visitor

CALL = re.compile(r"/call/(?:v2/)?[^/]+/([^/]+)/?$")


class Leaving:
    """Tells when a visitor's stream breaks off. ASGI middleware.

    Args:
        app: what follows.
        on_leave: called with the visitor that nobody can answer any more, and whether for good.
    """

    def __init__(self, app: Any, on_leave: Callable[[Visitor, bool], None]) -> None:
        self.app, self.on_leave = app, on_leave

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Passes the request on; a disconnect before the stream's end is told."""
        session, is_one_call = session_of(scope)
        if session is None:
            await self.app(scope, receive, send)
            return
        is_over = False

        async def noted(message: dict) -> None:
            nonlocal is_over
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                is_over = True

        async def heard() -> dict:
            message = await receive()
            if message["type"] == "http.disconnect" and not is_over:
                self.on_leave(((scope.get("client") or ("",))[0], session), is_one_call)
            return message

        await self.app(scope, heard, noted)


def session_of(scope: dict) -> tuple[str | None, bool]:
    """The session whose answers this request streams, and whether it is of one call only.

    A page and Gradio's client name their session; curl names the call, which is then a session of
    its own. None for any other kind of request.
    """
    if scope["type"] != "http" or scope.get("method") != "GET":
        return None, False
    if scope["path"].endswith("/queue/data"):
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return asked.get("session_hash", [None])[0], False
    found = CALL.search(scope["path"])
    return (found.group(1), True) if found else (None, False)
