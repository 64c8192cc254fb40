"""Serves the page until it is told to stop: address, password, limits of requests, clean-up."""

import asyncio
import hmac
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aid.web.jobs import hear_warnings
from aid.web.leaving import Leaving
from aid.web.limits import Limits

LOCAL = ("127.0.0.1", "localhost", "::1")
LONGEST_MESSAGE = 1_000_000  # bytes of a request that is no upload
ENVELOPE = 20_000  # bytes around an uploaded file
SHORTEST_PASSWORD = 8
WRONG_PASSWORD_DELAY = 1.0
THREADS_BESIDE_QUEUE = 24


def read_password(path: Path) -> str:
    """The first line of a file.

    Raises:
        ValueError: there is no such file, or the password is too short.
    """
    if not path.is_file():
        raise ValueError(f"password file {str(path)!r} does not exist. Write a password into it.")
    password = path.read_text("utf-8").partition("\n")[0].strip()
    if len(password) < SHORTEST_PASSWORD:
        raise ValueError(
            f"the password in {str(path)!r} has {len(password)} characters. "
            f"Use {SHORTEST_PASSWORD} or more."
        )
    return password


def password_check(password: str) -> Callable[[str, str], Awaitable[bool]]:
    """Tells Gradio whether a visitor may come in; the name is free. Wrong ones wait a second."""

    async def is_right(_: str, given: str) -> bool:
        if hmac.compare_digest(given.encode(), password.encode()):
            return True
        await asyncio.sleep(WRONG_PASSWORD_DELAY)
        return False

    return is_right


class RequestLimits:
    """Refuses requests that are too large or from another site, before anything reads them.

    ASGI middleware, outside of everything of Gradio's.

    Args:
        app: what follows.
        limits: of one upload, and of the disk for all.
        folder: that uploads go to.
        hosts: names by which the page may be called; None allows any.
    """

    def __init__(
        self, app: Any, limits: Limits, folder: Path, hosts: tuple[str, ...] | None
    ) -> None:
        self.app, self.limits, self.folder, self.hosts = app, limits, folder, hosts

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Passes the request on, or answers it with a sentence."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "").rsplit(":", 1)[0].strip("[]")
        if self.hosts is not None and host not in self.hosts:
            # Another site whose name leads here would otherwise speak in the visitor's name.
            await _answer(send, 403, "this studio answers to its own address only.")
            return
        is_upload = scope["path"].rstrip("/").endswith("/upload")
        most = self.limits.megabytes * 1_000_000 + ENVELOPE if is_upload else LONGEST_MESSAGE
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length[:20]) > most:
            await _answer(send, 413, f"the request is too large; the limit is {most} bytes.")
            return
        if is_upload and _size(self.folder) > self.limits.kept_megabytes * 1_000_000:
            await _answer(send, 507, "the studio's disk space is used up. Try again in an hour.")
            return
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
            await send(message)

        try:
            await self.app(scope, bounded, noted)
        except _TooLong:
            if not has_answered:
                await _answer(send, 413, f"the request is too large; the limit is {most} bytes.")


class _TooLong(Exception):
    pass


async def _answer(send: Callable, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})


def _size(folder: Path) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(place) / name).stat().st_size
            except FileNotFoundError:
                continue  # the clean-up took it in between
    return total


def serve(
    open_studio: Callable[[], Any],
    *,
    votes: Path,
    data: Path | None,
    runs: Path | None,
    host: str,
    port: int,
    password: str | None,
) -> None:
    """Serves until SIGINT or SIGTERM, then leaves nothing behind but votes.

    Args:
        open_studio: loads the models; gives a `Studio`.
        votes: the file of votes.
        data: a data set to browse.
        runs: a folder with reports.
        host: address to listen at.
        port: 0 takes a free one.
        password: None lets everyone in who can reach the address.

    Raises:
        ValueError: the data set cannot be read, or the address is taken.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # Before Gradio is imported: it reads these when it is, and asks other servers by default.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    with tempfile.TemporaryDirectory(prefix="aid-studio-", ignore_cleanup_errors=True) as name:
        os.environ["GRADIO_TEMP_DIR"] = name
        studio = open_studio()
        if stop.is_set():
            return
        with warnings.catch_warnings():
            _launch(studio, Path(name), votes, data, runs, host, port, password, stop)


def _launch(
    studio: Any,
    folder: Path,
    votes: Path,
    data: Path | None,
    runs: Path | None,
    host: str,
    port: int,
    password: str | None,
    stop: threading.Event,
) -> None:
    from aid.web.ballots import Ballots
    from aid.web.browse import DataSet, Runs
    from aid.web.page import STYLE, build_page, theme

    hear_warnings()
    page = build_page(
        studio,
        folder,
        Ballots(votes),
        None if data is None else DataSet.open(data, studio.uploads),
        None if runs is None else Runs(folder=runs),
    )
    limits = studio.limits
    page.queue(max_size=4 * limits.waiting, default_concurrency_limit=8)
    hosts = LOCAL if host in LOCAL else None
    try:
        page.launch(
            server_name=host,
            server_port=port or _free_port(host),
            auth=None if password is None else password_check(password),
            auth_message="Any name, and the studio's password.",
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            inbrowser=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            show_error=False,
            footer_links=["api"],
            max_file_size=limits.megabytes * 1_000_000,
            max_threads=limits.waiting + THREADS_BESIDE_QUEUE,
            state_session_capacity=512,
            # Starlette's form of a middleware: what to call, and with what.
            app_kwargs={
                "middleware": [
                    (RequestLimits, (), {"limits": limits, "folder": folder, "hosts": hosts}),
                    (Leaving, (), {"on_leave": studio.turns.cancel}),
                ]
            },
            theme=theme(),
            css_paths=[STYLE],
        )
    except OSError as error:
        raise ValueError(f"cannot listen at {host}:{port} ({error}). Choose --port.") from None
    print(page.local_url, flush=True)
    if host not in LOCAL and password is None:
        print(
            "warning: everyone who can reach this address may draw. Set --password_file.",
            file=sys.stderr,
        )
    try:
        stop.wait()
    finally:
        studio.turns.close()
        page.close(verbose=False)


def _free_port(host: str) -> int:
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
