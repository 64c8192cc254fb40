"""What the middleware refuses, called as a server calls it."""

import asyncio
import time

import pytest

from aid.web import middleware
from aid.web.limits import Limits
from aid.web.middleware import Guard, Logins, size_on_disk
from aid.web.server import own_names


def answers(made, *requests, at=("10.0.0.5", 7860)):
    """The status and the text of each request (method, path, headers), all sent at once."""

    async def one(method, path, headers):
        sent = []
        scope = {
            "type": "http", "method": method, "path": path, "server": at,
            "client": (headers.get("from", "visitor"), 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message):
            sent.append(message)

        await made(scope, receive, send)
        return sent[0]["status"], sent[1]["body"].decode()

    async def every():
        return await asyncio.gather(*(one(*request) for request in requests))

    return asyncio.run(every())


def echo(status=200, seconds=0.0):
    async def app(scope, receive, send):
        await asyncio.sleep(seconds)
        names = ",".join(key.decode() for key, _ in scope["headers"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": names.encode()})

    return app


@pytest.fixture
def made(tmp_path):
    return lambda names=(), **app: Guard(echo(**app), Limits(), tmp_path, tuple(names))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.0.0.5:7860", 200), ("10.0.0.5", 200), ("Studio.Example", 200),
        ("evil.example", 403), ("10.0.0.6:7860", 403), ("", 403), ("127.0.0.1", 403),
        ("studio.example@evil.example", 403), ("studio.example/x", 403), ("[::1", 403),
        ("studio.example evil", 403), ("10.0.0.5:x", 403),
    ],
)  # fmt: skip
def test_a_host_is_the_address_of_the_request_or_a_name_that_was_given(made, host, status):
    ((found, words),) = answers(made(["studio.example"]), ("GET", "/", {"host": host}))
    assert found == status
    assert "evil" not in words


def test_forwarded_hosts_are_checked_too(made):
    known, both = {"host": "10.0.0.5"}, {"host": "10.0.0.5", "x-gradio-server": "http://evil"}
    found = answers(
        made(["studio.example"]),
        ("GET", "/", known | {"x-forwarded-host": "studio.example"}),
        ("GET", "/", known | {"x-forwarded-host": "studio.example, evil.example"}),
        ("GET", "/", both),
    )
    assert [status for status, _ in found] == [200, 403, 200]
    assert "x-gradio-server" not in found[2][1]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://10.0.0.5:7860", 200), ("http://10.0.0.5", 403), ("http://10.0.0.5:3000", 403),
        ("https://evil.example", 403), ("null", 403), ("", 403), ("http://[", 403),
    ],
)  # fmt: skip
def test_posts_of_a_browser_need_the_origin_of_the_studio(made, origin, status):
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/login"):
        headers = {"host": "10.0.0.5:7860", "origin": origin}
        ((found, _),) = answers(made(), ("POST", path, headers))
        assert found == status, path
    assert answers(made(), ("GET", "/", headers))[0][0] == 200


def test_a_page_behind_a_proxy_with_tls_has_an_accepted_origin(made):
    headers = {"host": "studio.example", "origin": "https://studio.example"}
    assert answers(made(["studio.example"]), ("POST", "/upload", headers))[0][0] == 200


def test_the_disk_is_counted_in_blocks_and_uploads_on_their_way_count(tmp_path, made):
    for number in range(100):
        (tmp_path / str(number)).write_bytes(b"x")
    assert size_on_disk(tmp_path) >= 100 * 512
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(10**9)
    assert size_on_disk(tmp_path) < 10**8
    limits = Limits(megabytes=20, kept_megabytes=70)
    full = Guard(echo(seconds=0.2), limits, tmp_path, ())
    request = ("POST", "/gradio_api/upload", {"host": "10.0.0.5"})
    several = [(*request[:2], {"host": "10.0.0.5", "from": f"10.0.1.{i}"}) for i in range(10)]
    statuses = [status for status, _ in answers(full, *several)]
    assert sorted(set(statuses)) == [200, 507]
    assert statuses.count(200) <= 4
    assert answers(full, request)[0][0] == 200, "what was refused takes no place"


def test_one_address_cannot_fill_the_disk_for_the_others(tmp_path, monkeypatch):
    guard = Guard(echo(), Limits(megabytes=20, kept_megabytes=100), tmp_path, ())
    host = {"host": "10.0.0.5", "content-length": "15000000"}
    greedy = ("POST", "/gradio_api/upload", host | {"from": "10.0.1.1"})
    statuses = [answers(guard, greedy)[0][0] for _ in range(6)]
    assert statuses == [200, 200, 200, 507, 507, 507], "a half of 100 MB"
    assert "your share of the disk" in answers(guard, greedy)[0][1]
    other = ("POST", "/gradio_api/upload", host | {"from": "10.0.1.2"})
    assert answers(guard, other)[0][0] == 200
    later = time.monotonic() + 3700
    monkeypatch.setattr(middleware.time, "monotonic", lambda: later)
    assert answers(guard, greedy)[0][0] == 200, "the clean-up has deleted the old ones"
    assert set(guard._uploads) == {"10.0.1.1"}


def test_the_disk_is_counted_outside_the_event_loop(made, monkeypatch):
    monkeypatch.setattr(middleware, "size_on_disk", lambda folder: time.sleep(1.0) or 0)
    upload, other = ({"host": "10.0.0.5"} for _ in range(2))
    ended = []

    async def app(scope, receive, send):
        ended.append(scope["path"])
        await echo()(scope, receive, send)

    served = made()
    served.app = app
    answers(served, ("POST", "/upload", upload), ("GET", "/other", other))
    assert ended == ["/other", "/upload"]


def login(address):
    return ("POST", "/login", {"host": "10.0.0.5", "from": address})


def test_wrong_passwords_of_all_addresses_wait_for_each_other(made, monkeypatch):
    monkeypatch.setattr(middleware, "WRONG_PASSWORD_DELAY", 0.2)
    started = time.monotonic()
    found = answers(made(status=400), *(login(f"address {number}") for number in range(20)))
    assert time.monotonic() - started >= 0.2 * middleware.MAX_LOGINS
    statuses = [status for status, _ in found]
    assert statuses.count(400) == middleware.MAX_LOGINS
    assert statuses.count(429) == 20 - middleware.MAX_LOGINS


def test_an_address_that_guesses_is_locked_out_for_a_while_and_others_are_not(made, monkeypatch):
    monkeypatch.setattr(middleware, "WRONG_PASSWORD_DELAY", 0.0)
    wrong, right = echo(status=400), echo(status=200)
    served = made()
    served.app = wrong
    for _ in range(middleware.MAX_WRONG):
        assert answers(served, login("a stranger"))[0][0] == 400
        served.logins._one = asyncio.Lock()
    served.app = right
    status, words = answers(served, login("a stranger"))[0]
    assert status == 429
    assert "too many wrong passwords. Try again in 60 s" in words
    assert answers(served, login("somebody else"))[0][0] == 200
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + middleware.LOCKED_FOR + 1)
    assert answers(served, login("a stranger"))[0][0] == 200


def test_a_right_password_forgives_the_wrong_ones_before(made, monkeypatch):
    monkeypatch.setattr(middleware, "WRONG_PASSWORD_DELAY", 0.0)
    logins = Logins()
    for _ in range(3):
        for _ in range(middleware.MAX_WRONG - 1):
            logins._count("somebody")
        served = made()
        served.logins = logins
        assert answers(served, login("somebody"))[0][0] == 200


def test_names_are_checked_and_a_local_studio_has_local_names():
    assert own_names("127.0.0.1", "studio.example, two.example")[-2:] == (
        "studio.example", "two.example",
    )  # fmt: skip
    assert "localhost" in own_names("127.0.0.1", "")
    assert "127.0.0.1" not in own_names("0.0.0.0", "")
    for bad in ("http://a.example", "a.example:80", "a b", "a/b"):
        with pytest.raises(ValueError, match="is no name of a host"):
            own_names("0.0.0.0", bad)
