"""What stands before Gradio: checks of every request, a brake on password guesses, disconnects.

Both classes are ASGI middleware; `server` puts them around Gradio's app.
"""

import asyncio
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from aid.web.limits import Limits
from aid.web.queue import Visitor

LOCAL = ("127.0.0.1", "localhost", "::1")
MAX_MESSAGE = 1_000_000
"""Bytes of a request that is no upload."""
ENVELOPE = 20_000
"""Bytes around an uploaded file."""
WRONG_PASSWORD_DELAY = 1.0
"""Seconds."""
MAX_WRONG = 5
"""Wrong passwords in a row from one address before it is locked out."""
LOCKED_FOR = 60.0
"""Seconds."""
MAX_LOGINS = 8
"""Logins that wait for each other."""
MAX_ADDRESSES = 10_000
"""Addresses whose wrong passwords are counted."""
SHARE_OF_DISK = 0.5
"""Share of `kept_megabytes` that the uploads of one address may take."""
KEEP_FOR = 3600.0
"""Seconds after which the clean-up deletes an upload."""
BLOCK = 512
"""Bytes, the unit of st_blocks."""
SAME_SITE = re.compile(rb";\s*samesite=[^;]*", re.IGNORECASE)
CALL = re.compile(r"/call/(?:v2/)?[^/]+/([^/]+)/?$")


class Guard:
    """Refuses requests that are too large or come from another site, and slows password guessing.

    Gradio bounds single uploaded files, but neither other requests nor the disk; it answers to any
    `Host` and checks origins on localhost only; it does not slow logins.

    Args:
        app: the app behind it.
        limits: of one upload, and of the disk for all.
        folder: that uploads go to.
        names: by which the page may be called, besides the address at which a request comes in.
    """

    def __init__(self, app: Any, limits: Limits, folder: Path, names: tuple[str, ...]) -> None:
        self.app, self.limits, self.folder = app, limits, folder
        self.names = {name.lower() for name in names}
        self.logins = Logins()
        self._coming = 0  # bytes of uploads that are on their way
        self._uploads: dict[str, deque[tuple[float, int]]] = {}  # by address: time, bytes

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Passes the request on, or answers it with a sentence."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_answered = False

        async def send_own(message: dict) -> None:
            nonlocal has_answered
            has_answered = True
            if message["type"] == "http.response.start":
                message = message | {"headers": [_same_site(*one) for one in message["headers"]]}
            await send(message)

        try:
            await self._check(scope, receive, send_own)
        except _Refused as refused:
            if not has_answered:
                answer = PlainTextResponse(refused.words, refused.status, {"connection": "close"})
                await answer(scope, receive, send)

    async def _check(self, scope: dict, receive: Callable, send: Callable) -> None:
        headers = Headers(scope=scope)
        forwarded = ",".join(headers.getlist("x-forwarded-host"))
        hosts = [*headers.getlist("host"), *map(str.strip, filter(None, forwarded.split(",")))]
        if not hosts or not all(self._is_known(host, scope) for host in hosts):
            # Otherwise another site whose name leads here could act for the visitor.
            raise _Refused(
                403,
                "this studio answers to its own address only; start it with --names NAME for "
                "another name.",
            )
        is_post = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if is_post and not _is_own_origin(headers, hosts):
            raise _Refused(403, "this request comes from the page of another site.")
        path = scope["path"].rstrip("/")
        is_upload = path.endswith("/upload")
        most = self.limits.megabytes * 1_000_000 + ENVELOPE if is_upload else MAX_MESSAGE
        (length, *more) = headers.getlist("content-length") or ["0"]
        if more or not length.isdigit() or int(length[:20]) > most:
            raise _TooLarge(most)
        # Gradio repeats this header, which names another server, in its answers.
        kept = [(key, value) for key, value in headers.raw if key.lower() != b"x-gradio-server"]
        scope, receive = scope | {"headers": kept}, _bounded(receive, most)
        if is_upload:
            await self._upload(int(length) or most, scope, receive, send)
        elif is_post and path.endswith("/login"):
            await self.logins.take(self.app, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_known(self, host: str, scope: dict) -> bool:
        name = name_and_port(host)[0]
        here = (scope.get("server") or ("",))[0]
        return bool(name) and (
            name in self.names or name == here or (here in LOCAL and name in LOCAL)
        )

    async def _upload(self, size: int, scope: dict, receive: Callable, send: Callable) -> None:
        most = self.limits.kept_megabytes * 1_000_000
        own = self._recent((scope.get("client") or ("",))[0])
        if sum(number for _, number in own) + size > SHARE_OF_DISK * most:
            raise _Refused(
                507, "your uploads of the last hour fill your share of the disk. Try again later."
            )
        entry = (time.monotonic(), size)
        own.append(entry)
        self._coming += size
        try:
            # In a thread, because all requests would wait for the disk.
            if await asyncio.to_thread(size_on_disk, self.folder) + self._coming - size > most:
                own.remove(entry)
                raise _Refused(507, "the studio's disk space is used up. Try again in an hour.")
            await self.app(scope, receive, send)
        finally:
            self._coming -= size

    def _recent(self, address: str) -> deque[tuple[float, int]]:
        """The uploads of an address that the clean-up has not deleted yet."""
        begin = time.monotonic() - KEEP_FOR
        for known in list(self._uploads):
            while self._uploads[known] and self._uploads[known][0][0] < begin:
                self._uploads[known].popleft()
            if not self._uploads[known]:
                del self._uploads[known]
        return self._uploads.setdefault(address, deque())


class Logins:
    """Checks passwords one after the other; a wrong one delays the next by a second.

    An address that sends several wrong ones in a row is locked out for a while.
    """

    def __init__(self) -> None:
        self._wrong: Counter[str] = Counter()
        self._locked: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._one = asyncio.Lock()

    async def take(self, app: Any, scope: dict, receive: Callable, send: Callable) -> None:
        """Lets the sender of a request try: the app answers 400 if the password is wrong.

        Raises:
            _Refused: the sender may not try now.
        """
        address = (scope.get("client") or ("",))[0]
        self._raise_if_locked(address)
        if sum(self._waiting.values()) >= MAX_LOGINS or self._waiting[address] >= MAX_LOGINS // 2:
            raise _Refused(429, "too many passwords are being tried. Try again soon.")
        self._waiting[address] += 1
        try:
            async with self._one:
                self._raise_if_locked(address)  # since it waited
                status = 0

                async def send_noting(message: dict) -> None:
                    nonlocal status
                    status = message.get("status", status)
                    await send(message)

                await app(scope, receive, send_noting)
                if status == 200:
                    self._wrong.pop(address, None)
                elif status == 400:
                    self._count(address)
                    await asyncio.sleep(WRONG_PASSWORD_DELAY)
        finally:
            self._waiting[address] -= 1
            self._waiting += Counter()  # drops those who do not wait

    def _raise_if_locked(self, address: str) -> None:
        left = self._locked.get(address, 0.0) - time.monotonic()
        if left > 0:
            words = f"too many wrong passwords. Try again in {max(1, round(left))} s."
            raise _Refused(429, words)

    def _count(self, address: str) -> None:
        if len(self._wrong) > MAX_ADDRESSES:
            self._wrong.clear()
        self._wrong[address] += 1
        if self._wrong[address] >= MAX_WRONG:
            now = time.monotonic()
            self._locked = {one: end for one, end in self._locked.items() if end > now}
            self._locked[address] = now + LOCKED_FOR
            del self._wrong[address]


class Disconnects:
    """Reports a visitor who disconnects before the answer is there.

    Gradio answers over a stream that the visitor opens. When the stream breaks off, Gradio ends
    what a page asked for, but finishes what a program asked for, while others wait.

    Args:
        app: the app behind it.
        on_disconnect: called with the visitor, and whether the session ends with this call.
    """

    def __init__(self, app: Any, on_disconnect: Callable[[Visitor, bool], None]) -> None:
        self.app, self.on_disconnect = app, on_disconnect

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Passes the request on and watches for a disconnect before the stream's end."""
        session, is_one_call = session_of(scope)
        if session is None:
            await self.app(scope, receive, send)
            return
        is_over = False

        async def send_noting(message: dict) -> None:
            nonlocal is_over
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                is_over = True

        async def receive_noting() -> dict:
            message = await receive()
            if message["type"] == "http.disconnect" and not is_over:
                self.on_disconnect(((scope.get("client") or ("",))[0], session), is_one_call)
            return message

        await self.app(scope, receive_noting, send_noting)


def session_of(scope: dict) -> tuple[str | None, bool]:
    """The session whose answers this request streams, and whether it is of one call only.

    A page and Gradio's client name their session; curl names the call, which is then a session of
    its own. None for any other kind of request.
    """
    if scope["type"] != "http" or scope.get("method") != "GET":
        return None, False
    if scope["path"].endswith("/queue/data"):
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return query.get("session_hash", [None])[0], False
    found = CALL.search(scope["path"])
    return (found.group(1), True) if found else (None, False)


def size_on_disk(folder: Path) -> int:
    """Bytes that a folder's files and folders take on the disk, whole blocks."""
    total = 0
    for place, _, files in os.walk(folder):
        for path in (Path(place), *(Path(place) / name for name in files)):
            try:
                total += path.lstat().st_blocks * BLOCK
            except FileNotFoundError:
                continue  # the clean-up deleted it in between
    return total


def name_and_port(host: str) -> tuple[str, int | None]:
    """Of a Host header; the name is "" where there is none."""
    if re.search(r"[\s/?#@,\\]", host):
        return "", None
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


class _Refused(Exception):
    def __init__(self, status: int, words: str) -> None:
        self.status, self.words = status, words


class _TooLarge(_Refused):
    def __init__(self, most: int) -> None:
        super().__init__(413, f"the request is too large; the limit is {most} bytes.")


def _bounded(receive: Callable, most: int) -> Callable:
    """`receive` for a body of at most `most` bytes, also one in pieces without a length."""
    received = 0

    async def receive_bounded() -> dict:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise _TooLarge(most)
        return message

    return receive_bounded


def _is_own_origin(headers: Headers, hosts: list[str]) -> bool:
    """Whether a browser sends this from a page of this studio; programs name no origin."""
    if "cross-site" in headers.getlist("sec-fetch-site"):
        return False
    for origin in headers.getlist("origin"):
        try:
            parts = urlsplit(origin)
            usual = {"http": 80, "https": 443}[parts.scheme]
            page = (parts.hostname, parts.port or usual)
        except (ValueError, KeyError):
            return False
        if page not in {(name, port or usual) for name, port in map(name_and_port, hosts)}:
            return False
    return True


def _same_site(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A cookie that pages of other sites do not send along; any other header as it is."""
    if key.lower() != b"set-cookie":
        return key, value
    return key, SAME_SITE.sub(b"", value) + b"; SameSite=Lax"
