"""How a language model is asked for states."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AskingConfig:
    """How language models are asked for states. Nothing here changes an answer."""

    batch_size: int = 8
    """Questions at once, for a model on this machine. Ours."""
    concurrency: int = 4
    """Requests at once, to a server. Ours."""
    timeout: float = 120.0
    """Seconds that a server has for one answer. Ours."""
    max_tries: int = 5
    """Requests until a question is given up. Ours."""
    first_wait: float = 1.0
    """Seconds before the second try, doubled each time, unless the server says when. Ours."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        for name in ("batch_size", "concurrency", "max_tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not self.timeout > 0 or self.first_wait < 0:
            raise ValueError(
                f"timeout must be above 0 and first_wait not below, got {self.timeout} and "
                f"{self.first_wait}."
            )
