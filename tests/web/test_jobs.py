import threading

import pytest

from aid.web.jobs import News, RequestStopped, follow
from aid.web.turns import Ticket


def test_a_stop_after_the_last_step_is_a_stop_and_is_seen_at_once():
    ticket, may_end, places = Ticket(("a", "x")), threading.Event(), []

    def decode(progress):
        ticket.is_cancelled = True  # somebody presses Stop
        assert may_end.wait(60)
        return "the video"

    news = follow(ticket, 4, decode, at_end=lambda: places.append("free"))
    assert next(news) == News(total=4, is_stopping=True)
    may_end.set()
    with pytest.raises(RequestStopped):
        next(news)
    assert places == ["free"]


def test_work_that_nobody_stops_gives_its_result():
    news = follow(Ticket(("a", "x")), 4, lambda progress: "the video", at_end=lambda: None)
    assert list(news) == ["the video"]
