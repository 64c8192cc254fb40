"""Serves the page until it is told to stop: address, password, limits of requests, clean-up."""

import hmac
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aid.web.guard import LOCAL, Guard, own_names
from aid.web.jobs import hear_warnings
from aid.web.leaving import Leaving

SHORTEST_PASSWORD = 8
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


def password_check(password: str) -> Callable[[str, str], bool]:
    """Tells Gradio whether a visitor may come in; the name is free. `Guard` slows guessing."""

    def is_right(_: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), password.encode())

    return is_right


def serve(
    open_studio: Callable[[], Any],
    *,
    host: str,
    port: int,
    password: str | None,
    names: str = "",
) -> None:
    """Serves until SIGINT or SIGTERM, then leaves nothing behind.

    Args:
        open_studio: loads the models; gives a `Studio`.
        host: address to listen at.
        port: 0 takes a free one.
        password: None lets everyone in who can reach the address.
        names: further names by which visitors may call the studio, separated by commas.

    Raises:
        ValueError: a name is none, or the address is taken.
    """
    known = own_names(host, names)
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
            _launch(studio, Path(name), host, port, password, stop, known)


def _launch(
    studio: Any,
    folder: Path,
    host: str,
    port: int,
    password: str | None,
    stop: threading.Event,
    names: tuple[str, ...],
) -> None:
    from aid.web.page import STYLE, build_page, theme

    hear_warnings()
    page = build_page(studio, folder)
    limits = studio.limits
    page.queue(max_size=4 * limits.waiting, default_concurrency_limit=8)
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
                    (Guard, (), {"limits": limits, "folder": folder, "names": names}),
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
