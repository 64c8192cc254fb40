import threading

import pytest

from aid.web.turns import Turns


def order_of(turns, tickets):
    """The tickets' order of running, each leaving when it ran."""
    ran = []
    while turns.running is not None:
        ran.append(tickets[turns.running])
        turns.leave(turns.running)
    return ran


def test_visitors_take_turns_not_requests():
    turns = Turns(20, 5)
    names = {}
    for name, visitor in [("a1", ("a", "x")), ("a2", ("a", "x")), ("a3", ("a", "x"))]:
        names[turns.join(visitor)] = name
    for name, visitor in [("b1", ("b", "x")), ("b2", ("b", "x")), ("c1", ("c", "x"))]:
        names[turns.join(visitor)] = name
    assert order_of(turns, names) == ["a1", "a2", "b1", "c1", "a3", "b2"]


def test_many_sessions_of_one_address_get_no_more_turns_than_one_of_another():
    turns = Turns(30, 5)
    names = {turns.join(("crowd", str(i))): f"crowd{i}" for i in range(6)}
    names |= {turns.join(("alone", "x")): f"alone{i}" for i in range(3)}
    ran = order_of(turns, names)
    assert [name.rstrip("0123456789") for name in ran[:7]] == [
        "crowd", "crowd", "alone", "crowd", "alone", "crowd", "alone",
    ]  # fmt: skip


def test_sessions_of_one_address_take_turns_too():
    turns = Turns(30, 5)
    names = {turns.join(("home", "x")): f"x{i}" for i in range(3)}
    names |= {turns.join(("home", "y")): f"y{i}" for i in range(2)}
    assert order_of(turns, names) == ["x0", "x1", "y0", "x2", "y1"]


def test_one_visitor_cannot_fill_the_queue():
    turns = Turns(8, 2)
    for _ in range(2):
        turns.join(("a", "x"))
    with pytest.raises(ValueError, match="2 of your requests are waiting"):
        turns.join(("a", "x"))
    for i in range(2):
        turns.join(("a", str(i)))
    with pytest.raises(ValueError, match="the queue is full"):
        turns.join(("a", "another session"))
    assert turns.ahead(turns.join(("b", "x"))) > 0


def test_places_are_told_and_given_back():
    turns = Turns(8, 3)
    first, second, third = (turns.join((name, "")) for name in "abc")
    assert [turns.ahead(t) for t in (first, second, third)] == [0, 1, 2]
    turns.leave(second)
    assert turns.ahead(third) == 1
    assert not turns.wait(third, 0.01)
    turns.leave(first)
    assert turns.wait(third, 0.01)
    turns.leave(third)
    turns.leave(third)  # once more does no harm
    assert turns.running is None


def test_who_leaves_is_cancelled_and_nobody_else():
    turns = Turns(8, 3)
    running, waiting, other = (turns.join(v) for v in [("a", "x"), ("a", "x"), ("a", "y")])
    turns.cancel(("a", "unknown"))
    assert not any(ticket.is_cancelled for ticket in (running, waiting, other))
    turns.cancel(("a", "x"))
    assert [ticket.is_cancelled for ticket in (running, waiting, other)] == [True, True, False]
    turns.leave(running)
    turns.leave(waiting)
    assert turns.running is other
    turns.join(("a", "x"))  # may come back
    turns.cancel(("b", "call"), is_for_good=True)  # left before its request was in the queue
    with pytest.raises(ValueError, match="stopped"):
        turns.join(("b", "call"))


def test_closing_cancels_all_and_waits_for_the_running_one():
    turns = Turns(8, 3)
    running, waiting = turns.join(("a", "")), turns.join(("b", ""))
    threading.Timer(0.05, turns.leave, [running]).start()
    turns.close()
    assert running.is_cancelled
    assert waiting.is_cancelled
    assert turns.running is None
    with pytest.raises(ValueError, match="closing"):
        turns.join(("c", ""))
