"""How language models are queried for states."""

from dataclasses import dataclass

LONGEST = 86400.0  # seconds: a day


@dataclass(frozen=True, kw_only=True)
class AskingConfig:
    """How language models are queried for states. Nothing here changes an answer."""

    batch_size: int = 8
    """Questions at once, for a model on this machine."""
    concurrency: int = 4
    """Requests at once, to a server."""
    timeout: float = 120.0
    """Seconds for one whole exchange with a server, from its look-up to the last byte."""
    max_tries: int = 5
    """Requests until a question is given up."""
    first_wait: float = 1.0
    """Seconds before the second try, doubled each time, unless the server says when."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        for name, most in (("batch_size", 4096), ("concurrency", 256), ("max_tries", 1000)):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}.")
        if not 0 < self.timeout <= LONGEST or not 0 <= self.first_wait <= LONGEST:
            raise ValueError(
                f"timeout must be above 0, first_wait at least 0, both at most {LONGEST:g} s, got "
                f"{self.timeout} and {self.first_wait}."
            )
