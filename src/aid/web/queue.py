"""The queue: one request draws at a time, and visitors take turns.

A visitor is an address and a session there. Addresses take turns, and so do the sessions of one
address, so neither many requests nor many sessions give anyone a larger share. Gradio's own queue
is first come, first served: one visitor could fill it.
"""

from collections import deque
from dataclasses import dataclass
from itertools import count
from threading import Condition

Visitor = tuple[str, str]
MAX_GONE = 1000
"""Visitors that are remembered after they left."""


@dataclass(eq=False)
class Ticket:
    """The place of one request. While its file is read it has no turn; then it waits or runs."""

    visitor: Visitor
    is_waiting: bool = False
    is_cancelled: bool = False


class Queue:
    """A fair queue.

    Args:
        waiting: the most requests that wait, all visitors together.
        waiting_each: the most requests of one session that wait or run.
        waiting_address: the same of one address; None is half of `waiting`.
    """

    def __init__(self, waiting: int, waiting_each: int, waiting_address: int | None = None) -> None:
        self.waiting, self.waiting_each = waiting, waiting_each
        self.waiting_address = waiting_address or max(waiting_each, waiting // 2)
        self.running: Ticket | None = None
        self.is_closed = False
        self._tickets: list[Ticket] = []
        self._last_turn: dict[str | Visitor, int] = {}  # or when the first of its requests came
        self._clock = count()
        self._gone: deque[Visitor] = deque(maxlen=MAX_GONE)
        self._changed = Condition()

    def enter(self, visitor: Visitor) -> Ticket:
        """A ticket that counts, but gets no turn before `line_up`. `leave` must follow.

        Raises:
            ValueError: the queue is full or closed, or the visitor has its share of it.
        """
        with self._changed:
            if self.is_closed:
                raise ValueError("the studio is closing.")
            if visitor in self._gone:
                raise ValueError("the request was stopped.")
            if sum(one.visitor == visitor for one in self._tickets) >= self.waiting_each:
                raise ValueError(
                    f"{self.waiting_each} of your requests are waiting already. Let one finish."
                )
            number = len(self._tickets)
            of_address = sum(one.visitor[0] == visitor[0] for one in self._tickets)
            if of_address >= self.waiting_address or number > self.waiting:
                raise ValueError(f"the queue is full ({number} requests). Try again soon.")
            ticket = Ticket(visitor)
            self._tickets.append(ticket)
            return ticket

    def line_up(self, ticket: Ticket) -> None:
        """Lets a ticket wait for its turn."""
        with self._changed:
            ticket.is_waiting = True
            for key in (ticket.visitor[0], ticket.visitor):
                self._last_turn.setdefault(key, next(self._clock))
            self._advance()

    def wait(self, ticket: Ticket, timeout: float) -> bool:
        """Whether it is the ticket's turn, after waiting for at most `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.running is ticket, timeout=timeout)

    def ahead(self, ticket: Ticket) -> int:
        """How many requests come before this one, the running one included."""
        with self._changed:
            return 1 + self._order().index(ticket) if ticket.is_waiting else 0

    def leave(self, ticket: Ticket) -> None:
        """Gives the place back, whether its request ran, waits or was cancelled."""
        with self._changed:
            ticket.is_cancelled, ticket.is_waiting = True, False
            if ticket in self._tickets:
                self._tickets.remove(ticket)
            if self.running is ticket:
                self.running = None
            self._advance()

    def cancel(self, visitor: Visitor, is_for_good: bool = False) -> None:
        """Ends all requests of a visitor; one that runs ends at its next sampling step.

        Args:
            visitor: whose requests.
            is_for_good: also those that have not reached the queue yet.
        """
        with self._changed:
            if is_for_good:
                self._gone.append(visitor)
            for ticket in self._tickets:
                if ticket.visitor == visitor:
                    ticket.is_cancelled = True

    def close(self, timeout: float = 10.0) -> None:
        """Refuses new requests, cancels all others and waits until the running one has stopped."""
        with self._changed:
            self.is_closed = True
            for ticket in self._tickets:
                ticket.is_cancelled = True
            self._changed.wait_for(lambda: self.running is None, timeout=timeout)

    def _advance(self) -> None:
        if self.running is None and not self.is_closed and (order := self._order()):
            self.running = order[0]
            self.running.is_waiting = False
            for key in (self.running.visitor[0], self.running.visitor):
                self._last_turn[key] = next(self._clock)
        waiting = [one.visitor for one in self._tickets if one.is_waiting]
        known = {*waiting, *(address for address, _ in waiting)}
        self._last_turn = {key: turn for key, turn in self._last_turn.items() if key in known}
        self._changed.notify_all()

    def _order(self) -> list[Ticket]:
        """The waiting tickets in the order in which they would run if no other came."""
        waiting = [one for one in self._tickets if one.is_waiting]
        last, later, order = dict(self._last_turn), count(1 << 62), []
        while waiting:
            # Of equal ones the earliest, because `min` takes the first.
            ticket = min(waiting, key=lambda one: (last[one.visitor[0]], last[one.visitor]))
            waiting.remove(ticket)
            order.append(ticket)
            last[ticket.visitor[0]] = last[ticket.visitor] = next(later)
        return order
