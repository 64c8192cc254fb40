import threading

import pytest

from aid.web.queue import Queue


def join(queue, visitor):
    ticket = queue.enter(visitor)
    queue.line_up(ticket)
    return ticket


def order_of(queue, tickets):
    """The tickets' order of running, each leaving when it ran."""
    ran = []
    while queue.running is not None:
        ran.append(tickets[queue.running])
        queue.leave(queue.running)
    return ran


def test_visitors_take_turns_not_requests():
    queue = Queue(20, 5)
    names = {}
    for name, visitor in [("a1", ("a", "x")), ("a2", ("a", "x")), ("a3", ("a", "x"))]:
        names[join(queue, visitor)] = name
    for name, visitor in [("b1", ("b", "x")), ("b2", ("b", "x")), ("c1", ("c", "x"))]:
        names[join(queue, visitor)] = name
    assert order_of(queue, names) == ["a1", "a2", "b1", "c1", "a3", "b2"]


def test_many_sessions_of_one_address_get_no_more_turns_than_one_of_another():
    queue = Queue(30, 5)
    names = {join(queue, ("crowd", str(i))): f"crowd{i}" for i in range(6)}
    names |= {join(queue, ("alone", "x")): f"alone{i}" for i in range(3)}
    ran = order_of(queue, names)
    assert [name.rstrip("0123456789") for name in ran[:7]] == [
        "crowd", "crowd", "alone", "crowd", "alone", "crowd", "alone",
    ]  # fmt: skip


def test_sessions_of_one_address_take_turns_too():
    queue = Queue(30, 5)
    names = {join(queue, ("home", "x")): f"x{i}" for i in range(3)}
    names |= {join(queue, ("home", "y")): f"y{i}" for i in range(2)}
    assert order_of(queue, names) == ["x0", "x1", "y0", "x2", "y1"]


def test_one_visitor_cannot_fill_the_queue():
    queue = Queue(8, 2)
    for _ in range(2):
        join(queue, ("a", "x"))
    with pytest.raises(ValueError, match="2 of your requests are waiting"):
        join(queue, ("a", "x"))
    for i in range(2):
        join(queue, ("a", str(i)))
    with pytest.raises(ValueError, match="the queue is full"):
        join(queue, ("a", "another session"))
    assert queue.ahead(join(queue, ("b", "x"))) > 0


def test_the_number_ahead_is_known_and_places_are_given_back():
    queue = Queue(8, 3)
    first, second, third = (join(queue, (name, "")) for name in "abc")
    assert [queue.ahead(t) for t in (first, second, third)] == [0, 1, 2]
    queue.leave(second)
    assert queue.ahead(third) == 1
    assert not queue.wait(third, 0.01)
    queue.leave(first)
    assert queue.wait(third, 0.01)
    queue.leave(third)
    queue.leave(third)  # once more does no harm
    assert queue.running is None


def test_only_the_visitor_who_leaves_is_cancelled():
    queue = Queue(8, 3)
    running, waiting, other = (join(queue, v) for v in [("a", "x"), ("a", "x"), ("a", "y")])
    queue.cancel(("a", "unknown"))
    assert not any(ticket.is_cancelled for ticket in (running, waiting, other))
    queue.cancel(("a", "x"))
    assert [ticket.is_cancelled for ticket in (running, waiting, other)] == [True, True, False]
    queue.leave(running)
    queue.leave(waiting)
    assert queue.running is other
    join(queue, ("a", "x"))  # may come back
    queue.cancel(("b", "call"), is_for_good=True)  # left before its request was in the queue
    with pytest.raises(ValueError, match="stopped"):
        join(queue, ("b", "call"))


def test_closing_cancels_all_and_waits_for_the_running_one():
    queue = Queue(8, 3)
    running, waiting = join(queue, ("a", "")), join(queue, ("b", ""))
    threading.Timer(0.05, queue.leave, [running]).start()
    queue.close()
    assert running.is_cancelled
    assert waiting.is_cancelled
    assert queue.running is None
    with pytest.raises(ValueError, match="closing"):
        join(queue, ("c", ""))
