"""YAML of unknown origin, read within bounds: recipes, and the cards of data sets."""

from typing import Any

import yaml

MOST_CHARACTERS = 1_000_000
DEEPEST = 50


def check_bounds(text: str) -> None:
    """Looks at a YAML text without building anything.

    Raises:
        ValueError: it is too long or too deep, or it repeats a part by an alias, with which some
            lines become gigabytes.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"YAML of {len(text):,} characters is not read; the most is {MOST_CHARACTERS:,}."
        )
    depth, anchors = 0, set()
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            anchor = getattr(event, "anchor", None)
            if isinstance(event, yaml.AliasEvent) and anchor in anchors:
                raise ValueError(f"a YAML alias is not read, got *{anchor}. Write the value out.")
            anchors.add(anchor)
            if depth > DEEPEST:
                raise ValueError(
                    f"YAML of more than {DEEPEST} levels is not read. Write it flatter."
                )
    except yaml.YAMLError:
        return  # the caller parses it again and reports the error


def load_yaml(text: str) -> Any:
    """The plain values of a YAML text.

    Raises:
        ValueError: it is beyond the bounds, or no YAML.
    """
    check_bounds(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"this is no YAML: {' '.join(str(error).split())}") from None
