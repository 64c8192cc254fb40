"""The saved state of a run: all that it needs to go on, as safetensors and JSON.

    state/trainer.safetensors   weights/NAME, average/NAME, optimizer/SLOT/NAME
    state/trainer.json          step, facts, the SHA-256 of that file, and its own

A state is read back and compared before the one before it goes. What is damaged, or belongs to
another run, is refused with the file and the reason.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aid.files import check_free_space, sha256_of, whole_folder
from aid.optim.optimizer import AveragedWeights

TENSORS, FACTS = "trainer.safetensors", "trainer.json"
ANEW = "Put back a copy of that folder, or delete it to start anew."
PORTION = 2**26
"""Bytes that are read back at a time: what is read of a file stays mapped until it is closed, and
counts as memory till then."""


def state_tensors(
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: AveragedWeights,
) -> dict[str, Tensor]:
    """Weights, averages and the optimizer's moments by the names they have in the file."""
    tensors: dict[str, Tensor] = {}
    for name, p in parameters.items():
        tensors[f"weights/{name}"] = p.detach()
        tensors[f"average/{name}"] = ema.weights[name]
        for slot, value in optimizer.state.get(p, {}).items():
            # bitsandbytes lets all weights share one table, which safetensors refuses.
            own = value.clone() if slot.startswith("qmap") else torch.as_tensor(value)
            tensors[f"optimizer/{slot}/{name}"] = own
    return tensors


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def save_state(folder: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Writes a state whole or not at all, and reads it back before the last one goes.

    Args:
        folder: the state's.
        tensors: `state_tensors`.
        values: JSON values beside them: the step, the facts of the run and the like.

    Raises:
        OSError: it could not be written, or was not read back as it was; the last state stands.
    """
    try:
        check_free_space(folder.parent, size_of(tensors.values()))
        with whole_folder(folder) as made:
            save_file({k: t.cpu().contiguous() for k, t in tensors.items()}, made / TENSORS)
            _compare(made / TENSORS, tensors)
            sealed = {**values, "tensors": len(tensors), TENSORS: sha256_of(made / TENSORS)}
            sealed["seal"] = _seal(sealed)
            text = json.dumps(sealed, indent=1)
            (made / FACTS).write_text(text, encoding="utf-8")
            if (made / FACTS).read_text(encoding="utf-8") != text:
                raise OSError(f"{FACTS} was not read back as it was written")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"the training state of step {values.get('step')} was not saved: {reason}. The state "
            f"before it in {str(folder)!r} is as it was; the same command goes on from there"
        ) from error


def load_state(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: AveragedWeights,
    facts: Mapping[str, Any],
    accept: Sequence[str] = (),
) -> dict[str, Any]:
    """Restores what `save_state` wrote and returns its values.

    Args:
        facts: `flat` facts of this run, which must be those of the state.
        accept: names of facts that may differ.

    Raises:
        ValueError: a file is missing or damaged, or belongs to another run.
    """
    values = read_values(folder)
    changes = _refuse_other_facts(folder, values["facts"], facts, accept)
    values["changes"] = [*values.get("changes", []), *changes]
    path = folder / TENSORS
    tensors = _read_tensors(path, values)
    _refuse_other_names(path, tensors, parameters)
    restore_tensors(tensors, parameters, optimizer, ema)
    return values


@torch.no_grad()
def restore_tensors(
    tensors: Mapping[str, Tensor],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: AveragedWeights,
) -> None:
    """Puts weights, averages and moments back."""
    for key, value in tensors.items():
        kind, rest = key.split("/", 1)
        if kind == "optimizer":
            slot, name = rest.split("/", 1)
            p = parameters[name]
            # The number of steps is a scalar: a tensor where the weights are, or a Python number.
            is_number = value.ndim == 0 and value.dtype == torch.int64
            optimizer.state[p][slot] = int(value) if is_number else value.to(p.device)
        else:
            (parameters if kind == "weights" else ema.weights)[rest].copy_(value)


def read_values(folder: Path) -> dict[str, Any]:
    """The JSON values of a state.

    Raises:
        ValueError: the file is missing or damaged.
    """
    path = folder / FACTS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        seal = values.pop("seal")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            f"training state {str(path)!r} cannot be read ({_reason(error)}). {ANEW}"
        ) from None
    if seal != _seal(values):
        raise ValueError(
            f"training state {str(path)!r} is damaged: its content does not have the SHA-256 that "
            f"it names. {ANEW}"
        )
    return values


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"damaged: {error}" if isinstance(error, ValueError) else "damaged: it has no seal"


def _seal(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _compare(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuses a file that does not hold exactly these tensors."""
    for names in _portions(tensors):
        with safe_open(path, framework="pt") as file:
            for name in names:
                if not torch.equal(_bits(file.get_tensor(name)), _bits(tensors[name].cpu())):
                    raise OSError(f"{name} was not read back as it was written")


def _portions(tensors: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """The names in groups of about `PORTION` bytes."""
    names: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        names.append(name)
        size += size_of([tensor])
        if size >= PORTION:
            yield names
            names, size = [], 0
    if names:
        yield names


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)  # bits, so that NaN equals itself


def _read_tensors(path: Path, values: Mapping[str, Any]) -> dict[str, Tensor]:
    try:
        found = sha256_of(path)
        if found != values[TENSORS]:
            raise ValueError(
                f"training state {str(path)!r} cannot be read: its SHA-256 is {found}, {FACTS} "
                f"names {values[TENSORS]}. {ANEW}"
            )
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"training state {str(path)!r} cannot be read ({error}). {ANEW}") from None


def _refuse_other_names(path: Path, saved: Mapping[str, Tensor], wanted: Iterable[str]) -> None:
    """Weights and averages must be those of this run, none more and none less."""
    for kind in ("weights", "average"):
        have = {key.split("/", 1)[1] for key in saved if key.startswith(f"{kind}/")}
        if odd := sorted(have ^ set(wanted)):
            raise ValueError(
                f"training state {str(path)!r} was made by another model: {len(odd)} parameters "
                f"differ, the first is {odd[0]!r}. Use the recipe that started this run, or "
                "another folder."
            )


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested facts under dotted names, as JSON values."""
    made: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            made |= flat(value, f"{prefix}{name}.")
        else:
            made[f"{prefix}{name}"] = json.loads(json.dumps(value))
    return made


def _refuse_other_facts(
    folder: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any], accept: Sequence[str]
) -> list[dict[str, Any]]:
    """The differences that were accepted; any other is refused by name."""
    changes = []
    for name in sorted(saved.keys() | wanted.keys()):
        was, now = saved.get(name), wanted.get(name)
        if was == now:
            continue
        if name not in accept:
            raise ValueError(
                f"{str(folder)!r} was made with {name} = {was!r}, this run has {now!r}. Resume "
                f"with the same setting, accept the change (--accept {name}), or train in another "
                "folder."
            )
        changes.append({"name": name, "was": was, "now": now})
    return changes
