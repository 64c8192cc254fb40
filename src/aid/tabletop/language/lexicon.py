"""The words of free speech and their meanings, as `lexicon.toml` lists them."""

import tomllib
from pathlib import Path
from typing import Any

_TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_KINDS = {
    "fillers": "filler",
    "joints": "joint",
    "adjectives": "adjective",
    "verbs": "verb",
    "relations": "relation",
    "things": "thing",
    "other_colours": "other colour",
    "colours": "colour",
    "shapes": "shape",
    "plurals": "several",
    "several": "several",
    "negations": "negation",
    "up": "up",
    "courtesies": "filler",
    "on_the_table": "on the table",
    "determiners": "determiner",
}
"""The kind of the words in each list; of a word in several lists the last one counts."""
_DIRECTIONS = {"towards": "towards the camera", "away": "away from the camera", "unclear": ""}


def _split(words: str) -> list[str]:
    """The words and phrases of a line."""
    return [" ".join(phrase.split()) for phrase in words.split(",")]


def _inflected(verb: str) -> list[str]:
    """The forms of a verb, wrong ones included; of a phrase the first word is inflected."""
    first, *rest = verb.split()
    stem, irregular = first.removesuffix("e"), _TABLES["irregular"].get(first)
    forms = [first, f"{first}s", f"{first}es", f"{stem}ing", f"{stem}ed", f"{stem}ied"]
    if len(first) < 5:
        forms += [f"{first}{first[-1]}ing", f"{first}{first[-1]}ed"]
    forms += _split(irregular) if irregular else []
    return [" ".join([form, *rest]) for form in forms]


def _meanings() -> dict[tuple[str, ...], tuple[str, str]]:
    """The kind and the meaning of each word and phrase."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}

    def add(kind: str, meaning: str, phrases: list[str]) -> None:
        found.update({tuple(phrase.split()): (kind, meaning) for phrase in phrases})

    for name, kind in _KINDS.items():
        table = _TABLES[name]
        for meaning, words in table.items() if isinstance(table, dict) else [("", table)]:
            phrases = _split(words)
            if kind == "verb":
                phrases = [form for verb in phrases for form in _inflected(verb)]
            add(kind, meaning, phrases)
        if name == "negations":
            for direction, meaning in _DIRECTIONS.items():
                add("direction", meaning, _split(_TABLES[direction]))
    add("back", "", ["back"])
    return found


MEANINGS = _meanings()
"""The kind and the meaning of each word and phrase, by its words."""
LONGEST_PHRASE = max(map(len, MEANINGS))
LISTED = frozenset(word for phrase in MEANINGS for word in phrase) | {"left", "right"}
COLOUR_WORDS = frozenset(word for words in _TABLES["colours"].values() for word in _split(words))
QUESTIONS = frozenset(_split(_TABLES["questions"]))
NOT_TYPING_ERRORS = frozenset(_split(_TABLES["not_typing_errors"]))
CORRECTABLE = {
    word: MEANINGS.get((word,), ("", word))
    for line in (
        *_TABLES["colours"].values(),
        *_TABLES["shapes"].values(),
        *_TABLES["verbs"].values(),
        _TABLES["correctable"],
    )
    for phrase in _split(line)
    for word in phrase.split()[:1]
    if len(word) > 2
}
"""The words in which an error of one letter is corrected, and what they mean."""
