"""Weight files of others: they must fit our networks exactly, and the card names them by hash."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn


def load_exactly(network: nn.Module, path: Path) -> None:
    """Loads the tensors of a safetensors file, whose names and shapes must be the network's.

    `num_batches_tracked`, a counter of training steps, may be missing.

    Raises:
        ValueError: the file cannot be read, or its names or shapes are not the network's.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"weights {str(path)!r} cannot be read ({error}). Give a safetensors file; "
            "docs/evaluation.md says how to make it."
        ) from None
    own, loaded = (
        {k: tuple(v.shape) for k, v in one.items() if not k.endswith("num_batches_tracked")}
        for one in (network.state_dict(), state)
    )
    if odd := [n for n in sorted(own.keys() | loaded.keys()) if own.get(n) != loaded.get(n)]:
        raise ValueError(
            f"{str(path)!r} does not fit: {len(odd)} tensors differ, the first is {odd[0]!r}: "
            f"{loaded.get(odd[0], 'missing')} in the file, {own.get(odd[0], 'unknown')} here. "
            "docs/evaluation.md says how to make that file."
        )
    network.load_state_dict(network.state_dict() | {name: state[name] for name in loaded})


def file_hash(path: Path) -> str:
    """The first 12 hex digits of a file's SHA-256.

    Raises:
        ValueError: there is no file.
    """
    if not path.is_file():
        raise ValueError(f"weights {str(path)!r} do not exist. Give the path of a file.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
