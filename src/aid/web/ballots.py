"""Blind votes: two videos side by side, nobody says whose is whose until the vote is in.

Votes are lines of JSON in a file. A win rate counts only votes between the same two contenders:
the same weights, told the same kind of thing, drawn with the same settings.
"""

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from aid.metrics.instruction import wilson_interval
from aid.web.limits import shown

Choice = Literal["left", "right", "tie"]
CHOICES = ("left", "right", "tie")
OPEN_BALLOTS = 256


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who competes. Contenders that differ in any of these are never counted together."""

    name: str
    fingerprint: str
    """Of the model's weights and backbone."""
    told: Literal["the instruction", "nothing"]
    num_steps: int
    image_guidance: float
    text_guidance: float
    guidance_interval: tuple[float, float | None]
    """Noise levels at which guidance acts; the highest is None where there is none: JSON has no
    infinity."""

    @property
    def key(self) -> str:
        """12 hex digits for what decides a video; the interval is the fingerprint's model's own."""
        facts = asdict(self)
        del facts["name"], facts["guidance_interval"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """A pair that waits for a vote."""

    token: str
    left: Contender
    right: Contender
    about: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Votes between two contenders: how often the first won, lost, tied."""

    wins: int
    losses: int
    ties: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the first one's share of the decided votes (Wilson)."""
        return wilson_interval(self.wins, self.wins + self.losses)

    def sentence(self, first: str, second: str) -> str:
        """The win rate in words."""
        decided = self.wins + self.losses
        ties = f", {self.ties} tied" if self.ties else ""
        if not decided:
            return f"No decided vote between {first} and {second} yet{ties}."
        low, high = self.interval
        return (
            f"{first} wins {100 * self.wins / decided:.0f} % of {decided} decided "
            f"vote{'s' * (decided != 1)} against {second} (95 %: {100 * low:.0f} to "
            f"{100 * high:.0f} %){ties}."
        )


class Ballots:
    """Open ballots in memory, votes in a file.

    Args:
        path: of the JSON-lines file; made at the first vote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: OrderedDict[str, Ballot] = OrderedDict()
        self._lock = Lock()

    def issue(self, one: Contender, other: Contender, about: dict[str, Any]) -> Ballot:
        """A ballot with the two on sides that nobody can foresee; the oldest open one may go."""
        left, right = (one, other) if secrets.randbits(1) else (other, one)
        ballot = Ballot(token=secrets.token_urlsafe(16), left=left, right=right, about=about)
        with self._lock:
            self._open[ballot.token] = ballot
            while len(self._open) > OPEN_BALLOTS:
                self._open.popitem(last=False)
        return ballot

    def vote(self, token: Any, choice: Any) -> tuple[Ballot, Tally]:
        """Writes the vote; tells whose videos they were and the tally of the left against right.

        Raises:
            ValueError: no such ballot waits, the choice is none, or the file cannot be written.
        """
        if choice not in CHOICES:
            raise ValueError(f"vote for {', '.join(CHOICES)}; got {shown(choice)}.")
        with self._lock:
            ballot = self._open.pop(token, None) if isinstance(token, str) else None
            if ballot is None:
                raise ValueError("this pair has been voted on, or is too old. Draw another one.")
            winner = {"left": ballot.left.key, "right": ballot.right.key, "tie": None}[choice]
            row = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "choice": choice,
                "winner": winner,
                "left": asdict(ballot.left) | {"key": ballot.left.key},
                "right": asdict(ballot.right) | {"key": ballot.right.key},
                **ballot.about,
            }
            try:
                self._append(json.dumps(row, ensure_ascii=False))
            except OSError as error:
                self._open[token] = ballot
                raise ValueError(f"the vote could not be written ({error.strerror}).") from None
            return ballot, self.tally(ballot.left, ballot.right)

    def tally(self, first: Contender, second: Contender) -> Tally:
        """The votes in the file between exactly these two, whichever side they were on."""
        won = {first.key: 0, second.key: 0, None: 0}
        if self.path.is_file():
            for number, line in enumerate(self.path.read_text("utf-8").splitlines(), start=1):
                try:
                    row = json.loads(line)
                    sides = {row["left"]["key"], row["right"]["key"]}
                    if sides == {first.key, second.key}:
                        won[row["winner"]] += 1
                except (ValueError, KeyError, TypeError):
                    raise ValueError(f"line {number} of the file of votes is malformed.") from None
        return Tally(wins=won[first.key], losses=won[second.key], ties=won[None])

    def _append(self, line: str) -> None:
        """One line, whole and on disk, also if another studio writes to the same file."""
        with self.path.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
