"""What is refused before anything reads a request: size, host, origin, and guessed passwords."""

import asyncio
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aid.web.limits import Limits

LOCAL = ("127.0.0.1", "localhost", "::1")
LONGEST_MESSAGE = 1_000_000  # bytes of a request that is no upload
ENVELOPE = 20_000  # bytes around an uploaded file
WRONG_PASSWORD_DELAY = 1.0  # seconds
MOST_WRONG = 5  # passwords in a row from one address
LOCKED_FOR = 60.0  # seconds
MOST_LOGINS = 8  # that wait for each other
MOST_ADDRESSES = 10_000  # that are remembered
BLOCK = 512  # bytes, the unit of st_blocks
SAME_SITE = re.compile(rb";\s*samesite=[^;]*", re.IGNORECASE)


class Guard:
    """Refuses requests that are too large or from another site, and slows guessing.

    ASGI middleware, outside of everything of Gradio's.

    Args:
        app: what follows.
        limits: of one upload, and of the disk for all.
        folder: that uploads go to.
        names: by which the page may be called, besides the address at which a request comes in.
    """

    def __init__(self, app: Any, limits: Limits, folder: Path, names: tuple[str, ...]) -> None:
        self.app, self.limits, self.folder = app, limits, folder
        self.names = {name.lower() for name in names}
        self.logins = Logins()
        self._coming = 0  # bytes of uploads that are on their way

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Passes the request on, or answers it with a sentence."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = scope["headers"]
        forwarded = ",".join(_values(headers, b"x-forwarded-host"))
        hosts = [*_values(headers, b"host"), *map(str.strip, filter(None, forwarded.split(",")))]
        if not hosts or not all(self._is_known(host, scope) for host in hosts):
            # Another site whose name leads here would otherwise speak in the visitor's name.
            await _answer(
                send, 403,
                "this studio answers to its own address only; start it with --names NAME for "
                "another name.",
            )  # fmt: skip
            return
        is_post = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if is_post and not _is_own_origin(headers, hosts):
            await _answer(send, 403, "this request comes from the page of another site.")
            return
        path = scope["path"].rstrip("/")
        is_upload = path.endswith("/upload")
        most = self.limits.megabytes * 1_000_000 + ENVELOPE if is_upload else LONGEST_MESSAGE
        (length, *more) = _values(headers, b"content-length") or ["0"]
        if more or not length.isdigit() or int(length[:20]) > most:
            await _answer(send, 413, f"the request is too large; the limit is {most} bytes.")
            return
        passed = scope | {"headers": _known_headers(headers)}
        if is_upload:
            self._coming += most
            try:
                # Not in the event loop, where everybody would wait for the disk.
                held = await asyncio.to_thread(size_on_disk, self.folder) + self._coming - most
                if held > self.limits.kept_megabytes * 1_000_000:
                    await _answer(
                        send, 507, "the studio's disk space is used up. Try again in an hour."
                    )
                    return
                await self._bounded(passed, receive, send, most)
            finally:
                self._coming -= most
        elif is_post and path.endswith("/login"):
            await self.logins.take(
                (scope.get("client") or ("",))[0],
                lambda noted: self._bounded(passed, receive, noted, most),
                send,
            )
        else:
            await self._bounded(passed, receive, send, most)

    def _is_known(self, host: str, scope: dict) -> bool:
        name = _name_and_port(host)[0]
        here = (scope.get("server") or ("",))[0]
        return bool(name) and (
            name in self.names or name == here or (here in LOCAL and name in LOCAL)
        )

    async def _bounded(self, scope: dict, receive: Callable, send: Callable, most: int) -> None:
        received, has_answered = 0, False

        async def bounded() -> dict:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:  # sent in pieces, without a length
                raise _TooLong
            return message

        async def noted(message: dict) -> None:
            nonlocal has_answered
            has_answered = True
            if message["type"] == "http.response.start":
                message = message | {"headers": [_own_site(*pair) for pair in message["headers"]]}
            await send(message)

        try:
            await self.app(scope, bounded, noted)
        except _TooLong:
            if not has_answered:
                await _answer(send, 413, f"the request is too large; the limit is {most} bytes.")


class Logins:
    """Passwords are looked at one after the other; a wrong one holds up the next by a second.

    An address that sends several wrong ones in a row is locked out for a while.
    """

    def __init__(self) -> None:
        self._wrong: Counter[str] = Counter()
        self._locked: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._one = asyncio.Lock()

    async def take(self, address: str, log_in: Callable, send: Callable) -> None:
        """Lets an address try, by `log_in(send)`, or answers that it may not.

        Args:
            address: of whoever tries.
            log_in: answers with status 400 if the password is wrong.
            send: takes the answer.
        """
        if self._is_locked(address):
            await self._refuse(address, send)
            return
        if sum(self._waiting.values()) >= MOST_LOGINS or self._waiting[address] >= MOST_LOGINS // 2:
            await _answer(send, 429, "too many passwords are being tried. Try again soon.")
            return
        self._waiting[address] += 1
        try:
            async with self._one:
                if self._is_locked(address):  # since it waited
                    await self._refuse(address, send)
                    return
                status = 0

                async def noted(message: dict) -> None:
                    nonlocal status
                    status = message.get("status", status)
                    await send(message)

                await log_in(noted)
                if status == 200:
                    self._wrong.pop(address, None)
                elif status == 400:
                    self._count(address)
                    await asyncio.sleep(WRONG_PASSWORD_DELAY)
        finally:
            self._waiting[address] -= 1
            self._waiting += Counter()  # drops those who do not wait

    def _is_locked(self, address: str) -> bool:
        return self._locked.get(address, 0.0) > time.monotonic()

    def _count(self, address: str) -> None:
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong.clear()
        self._wrong[address] += 1
        if self._wrong[address] >= MOST_WRONG:
            now = time.monotonic()
            self._locked = {one: end for one, end in self._locked.items() if end > now}
            self._locked[address] = now + LOCKED_FOR
            del self._wrong[address]

    async def _refuse(self, address: str, send: Callable) -> None:
        left = max(1, round(self._locked[address] - time.monotonic()))
        await _answer(send, 429, f"too many wrong passwords. Try again in {left} s.")


def own_names(host: str, names: str) -> tuple[str, ...]:
    """The names by which a studio may be called that listens at `host`.

    Args:
        host: address to listen at.
        names: further ones, separated by commas.

    Raises:
        ValueError: a name is none.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    for name in given:
        if _name_and_port(name) != (name.lower(), None):
            raise ValueError(
                f"--names: {name!r} is no name of a host. Give names such as studio.example, "
                "without port and path."
            )
    if host in LOCAL:
        return (*LOCAL, *given)
    machine = socket.gethostname()
    return (host, machine, f"{machine}.local", *given)


def size_on_disk(folder: Path) -> int:
    """Bytes that a folder's files and folders take on the disk, whole blocks."""
    total = 0
    for place, _, files in os.walk(folder):
        for path in (Path(place), *(Path(place) / name for name in files)):
            try:
                total += path.lstat().st_blocks * BLOCK
            except FileNotFoundError:
                continue  # the clean-up took it in between
    return total


class _TooLong(Exception):
    pass


async def _answer(send: Callable, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})


def _values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _name_and_port(host: str) -> tuple[str, int | None]:
    """Of a Host header; the name is "" where there is none."""
    if re.search(r"[\s/?#@,\\]", host):
        return "", None
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


def _is_own_origin(headers: list[tuple[bytes, bytes]], hosts: list[str]) -> bool:
    """Whether a browser sends this from a page of this studio; programs name no origin."""
    if "cross-site" in _values(headers, b"sec-fetch-site"):
        return False
    for origin in _values(headers, b"origin"):
        try:
            parts = urlsplit(origin)
            usual = {"http": 80, "https": 443}[parts.scheme]
            page = (parts.hostname, parts.port or usual)
        except (ValueError, KeyError):
            return False
        if not any(
            page[0] == name and (page[1] == port if port else page[1] == usual)
            for name, port in map(_name_and_port, hosts)
        ):
            return False
    return True


def _known_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without the one of Gradio's own that names another server, which its answers repeat."""
    return [(key, value) for key, value in headers if key.lower() != b"x-gradio-server"]


def _own_site(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A cookie that no other site's page sends along; any other header as it is."""
    if key.lower() != b"set-cookie":
        return key, value
    return key, SAME_SITE.sub(b"", value) + b"; SameSite=Lax"
