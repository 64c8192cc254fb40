"""Somebody's weights onto a network of ours: every tensor, or none."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn


def load_exactly(network: nn.Module, path: Path) -> None:
    """Gives a network the tensors of a file, which must be exactly the network's.

    `num_batches_tracked` counts training steps, is of no use here, and some files lack it.

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
    own, theirs = (
        {k: tuple(v.shape) for k, v in one.items() if not k.endswith("num_batches_tracked")}
        for one in (network.state_dict(), state)
    )
    if odd := [n for n in sorted(own.keys() | theirs.keys()) if own.get(n) != theirs.get(n)]:
        raise ValueError(
            f"{str(path)!r} does not fit: {len(odd)} tensors differ, first {odd[0]!r}: "
            f"{theirs.get(odd[0], 'missing')} in the file, {own.get(odd[0], 'unknown')} here. "
            "docs/evaluation.md says how to make that file."
        )
    network.load_state_dict(network.state_dict() | {name: state[name] for name in theirs})
