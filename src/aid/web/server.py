"""Serves the page until it is stopped: address, password, limits of requests, clean-up."""

import hmac
import os
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from aid.web.middleware import LOCAL, Disconnects, Guard, name_and_port
from aid.web.studio import Studio, show_warnings_to_visitors

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


def own_names(host: str, names: str) -> tuple[str, ...]:
    """The names by which a studio may be called that listens at `host`.

    Args:
        host: address to listen at.
        names: further ones, separated by commas.

    Raises:
        ValueError: one of them cannot be a name of a host.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    for name in given:
        if name_and_port(name) != (name.lower(), None):
            raise ValueError(
                f"--names: {name!r} is no name of a host. Give names such as studio.example, "
                "without port and path."
            )
    if host in LOCAL:
        return (*LOCAL, *given)
    machine = socket.gethostname()
    return (host, machine, f"{machine}.local", *given)


def serve(
    open_studio: Callable[[], Studio],
    *,
    host: str,
    port: int,
    password: str | None,
    names: str = "",
) -> None:
    """Serves until SIGINT or SIGTERM, then leaves nothing behind.

    Args:
        open_studio: loads the models.
        host: address to listen at.
        port: 0 takes a free one.
        password: None lets everyone in who can reach the address.
        names: further names by which visitors may call the studio, separated by commas.

    Raises:
        ValueError: a name cannot be used, or the address is taken.
    """
    known = own_names(host, names)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # Before Gradio is imported: it reads these then, and by default it asks other servers.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    with tempfile.TemporaryDirectory(prefix="aid-studio-", ignore_cleanup_errors=True) as name:
        os.environ["GRADIO_TEMP_DIR"] = name
        studio = open_studio()
        if stop.is_set():
            return
        with warnings.catch_warnings():
            show_warnings_to_visitors()
            _serve(studio, Path(name), host, port, password, known, stop)


def _serve(
    studio: Studio,
    folder: Path,
    host: str,
    port: int,
    password: str | None,
    names: tuple[str, ...],
    stop: threading.Event,
) -> None:
    from aid.web.page import STYLE, build_page, theme

    limits, page = studio.limits, build_page(studio, folder)

    def is_right(_: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (password or "").encode())

    page.queue(max_size=4 * limits.waiting, default_concurrency_limit=8)
    try:
        page.launch(
            server_name=host,
            server_port=port or _free_port(host),
            auth=None if password is None else is_right,
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
                    (Disconnects, (), {"on_disconnect": studio.queue.cancel}),
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
        studio.queue.close()
        page.close(verbose=False)


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
