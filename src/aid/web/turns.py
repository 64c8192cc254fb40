"""Whose turn it is: one request draws at a time, and visitors take turns, not requests.

A visitor is an address and a session there. Addresses take turns, and the sessions of one address
take turns among themselves, so neither many requests nor many sessions get anyone ahead.
"""

from collections import deque
from dataclasses import dataclass, field
from threading import Condition

Visitor = tuple[str, str]
GONE = 1000  # visitors that are remembered after they left


@dataclass(eq=False)
class Ticket:
    """One waiting or running request."""

    visitor: Visitor
    is_cancelled: bool = field(default=False)


class Turns:
    """The queue.

    Args:
        waiting: requests that may wait, all together.
        waiting_each: requests of one session that may wait or run.
        waiting_address: of one address; None takes half of all.
    """

    def __init__(self, waiting: int, waiting_each: int, waiting_address: int | None = None) -> None:
        self.waiting, self.waiting_each = waiting, waiting_each
        self.waiting_address = waiting_address or max(waiting_each, waiting // 2)
        self.running: Ticket | None = None
        self.is_closed = False
        self._gone: deque[Visitor] = deque(maxlen=GONE)
        self._sessions: dict[str, deque[str]] = {}
        self._tickets: dict[Visitor, deque[Ticket]] = {}
        self._arriving: list[Ticket] = []
        self._changed = Condition()

    def join(self, visitor: Visitor) -> Ticket:
        """A place in the queue; `leave` must follow. Errors as for `arrive`."""
        ticket = self.arrive(visitor)
        self.line_up(ticket)
        return ticket

    def arrive(self, visitor: Visitor) -> Ticket:
        """A ticket that counts as a waiting one, but has no turn before `line_up`.

        Its file is read meanwhile. `leave` must follow.

        Raises:
            ValueError: the queue is full, or the visitor's part of it.
        """
        with self._changed:
            everyone = [one for tickets in self._tickets.values() for one in tickets]
            everyone += [self.running] if self.running else []
            everyone += self._arriving
            if self.is_closed:
                raise ValueError("the studio is closing.")
            if visitor in self._gone:
                raise ValueError("the request was stopped.")
            if sum(one.visitor == visitor for one in everyone) >= self.waiting_each:
                raise ValueError(
                    f"{self.waiting_each} of your requests are waiting already. Let one finish."
                )
            of_address = sum(one.visitor[0] == visitor[0] for one in everyone)
            if of_address >= self.waiting_address or len(everyone) > self.waiting:
                raise ValueError(f"the queue is full ({len(everyone)} requests). Try again soon.")
            ticket = Ticket(visitor)
            self._arriving.append(ticket)
            return ticket

    def line_up(self, ticket: Ticket) -> None:
        """Lets a ticket that arrived take its turn."""
        with self._changed:
            if self.is_closed:
                return  # it is cancelled, as all are
            self._arriving.remove(ticket)
            address, session = visitor = ticket.visitor
            sessions = self._sessions.setdefault(address, deque())
            if session not in sessions:
                sessions.append(session)
            self._tickets.setdefault(visitor, deque()).append(ticket)
            self._advance()

    def wait(self, ticket: Ticket, timeout: float) -> bool:
        """Whether it is the ticket's turn, after waiting for at most `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.running is ticket, timeout=timeout)

    def ahead(self, ticket: Ticket) -> int:
        """How many requests come before this one, the running one included."""
        with self._changed:
            if self.running is ticket or ticket in self._arriving:
                return 0
            return 1 + self._order().index(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Gives the place back, whether it ran, waits or was cancelled."""
        with self._changed:
            ticket.is_cancelled = True
            if self.running is ticket:
                self.running = None
            elif ticket in self._arriving:
                self._arriving.remove(ticket)
            elif ticket in self._tickets.get(ticket.visitor, ()):
                self._tickets[ticket.visitor].remove(ticket)
                self._forget(ticket.visitor)
            self._advance()

    def cancel(self, visitor: Visitor, is_for_good: bool = False) -> None:
        """Ends all that the visitor waits for: the running request at its next sampling step.

        Args:
            visitor: whose requests.
            is_for_good: also what is still on its way; the visitor never comes back.
        """
        with self._changed:
            if is_for_good:
                self._gone.append(visitor)
            running = [self.running] if self.running else []
            for ticket in [*running, *self._arriving, *self._tickets.get(visitor, ())]:
                if ticket.visitor == visitor:
                    ticket.is_cancelled = True

    def close(self, patience: float = 10.0) -> None:
        """Lets nobody in any more, cancels all and waits for the running one to stop."""
        with self._changed:
            self.is_closed = True
            for tickets in [self._arriving, *self._tickets.values()]:
                for ticket in tickets:
                    ticket.is_cancelled = True
            if self.running:
                self.running.is_cancelled = True
            self._changed.wait_for(lambda: self.running is None, timeout=patience)

    def _advance(self) -> None:
        if self.running is None and not self.is_closed and (order := self._order()):
            self.running = order[0]
            address, session = self.running.visitor
            self._tickets[address, session].popleft()
            # To the end of both lines, and out of them if nothing is left.
            self._sessions[address].remove(session)
            self._sessions[address].append(session)
            self._sessions[address] = self._sessions.pop(address)
            self._forget(self.running.visitor)
        self._changed.notify_all()

    def _forget(self, visitor: Visitor) -> None:
        address, session = visitor
        if not self._tickets[visitor]:
            del self._tickets[visitor]
            self._sessions[address].remove(session)
            if not self._sessions[address]:
                del self._sessions[address]

    def _order(self) -> list[Ticket]:
        """All waiting tickets as they would run if nobody else came."""
        sessions = {address: deque(line) for address, line in self._sessions.items()}
        tickets = {visitor: deque(line) for visitor, line in self._tickets.items()}
        addresses, order = deque(sessions), []
        while addresses:
            address = addresses.popleft()
            session = sessions[address].popleft()
            order.append(tickets[address, session].popleft())
            if tickets[address, session]:
                sessions[address].append(session)
            if sessions[address]:
                addresses.append(address)
        return order
