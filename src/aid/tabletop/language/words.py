"""Splits what somebody says into words and tags each with its meaning (`lexicon.py`)."""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from aid.tabletop.language.lexicon import (
    COLOUR_WORDS,
    CORRECTABLE,
    LISTED,
    LONGEST_PHRASE,
    MEANINGS,
    NOT_TYPING_ERRORS,
)


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word or a phrase: its kind, what it means there, and how it was spelled."""

    kind: str
    """A kind of `lexicon.MEANINGS`, "unknown", or of a side: "direction" (to the left), "spot" (on
    the left), "its side" (on its left), "side of" (to the left of)."""
    meaning: str
    text: str
    said: str


def normalise(said: str) -> str:
    """The text in lower case, with single spaces, without punctuation; other characters stay."""
    kept = (" " if unicodedata.category(c)[0] in "PZCS" else c for c in said.lower())
    return " ".join("".join(kept).split())


_SPELLINGS = [
    (r"[’‘`´]", "'"),
    (r"\bcan'?t\b", "cannot"),
    (r"\bwon'?t\b", "will not"),
    (r"n't\b", " not"),
    (r"\b(do|does|did|is|are|was|should|could|would|must)nt\b", r"\1 not"),
    (r"\bgonna\b", "going to"),
    (r"\bwanna\b", "want to"),
    (r"\bgimme\b", "give me"),
    (r"\blemme\b", "let me"),
]
_PHRASES = [
    (r"\ball ?right\b|\bright (?:now|away|here|there|then)\b", " "),
    (r"(?<!the )(?<!to )(?<!your )\bright (?=(?:next|beside|on|in|into|onto|inside|at|up|by|over|"
     r"down|back|to|towards?)\b)", " "),
    (r"\btowards\b|\btoward\b", "towards"),
    (r"\b(bring|pull|send|slide|push|roll|scoot|move) (?:me|us)\b", r"\1 towards me"),
    (r"\bfrom (?:the )?left to (?:the )?right\b", "to the right"),
    (r"\bfrom (?:the )?right to (?:the )?left\b", "to the left"),
    (r"\b(left|right) ?wards?\b", r"to the \1"),
]  # fmt: skip
_SIDE = re.compile(
    r"\b(?:(?P<at>to|on|at|towards|by|in|over to|over on|off to|onto|over towards) )?"
    r"(?:(?:the|a|my|your|their) |(?P<its>its|it s|his|her) )*"
    r"(?:very |far |near |other |immediate |direct )*"
    r"(?P<side>left|right)(?: hand)?(?: (?:hand )?(?:side|flank|edge|end|direction|part))?"
    r"(?: (?P<of>of|from))?(?= |$)"
)


def tag(said: str) -> list[Word]:
    """The words of a sentence with their meanings."""
    text = said.lower()
    for pattern, spelling in _SPELLINGS:
        text = re.sub(pattern, spelling, text)
    text = normalise(text)
    for pattern, spelling in _PHRASES:
        text = re.sub(pattern, spelling, text)
    spelled = _without_modal_can(text.split())
    words = [_corrected(word, before) for before, word in pairwise(["", *spelled])]
    text, found, at = " ".join(words), [], 0
    for side in _SIDE.finditer(text):
        start, end = (text[:place].count(" ") for place in (side.start(), side.end()))
        found += _tagged(words[at:start], spelled[at:start])
        kind = "side of" if side["of"] else "its side" if side["its"] else "direction"
        if kind == "direction" and side["at"] in ("on", "at", "in", "over on"):
            kind = "spot"
        as_spelled = " ".join(spelled[start : end + 1])
        found.append(Word(kind=kind, meaning=side["side"], text=side[0], said=as_spelled))
        at = end + 1
    return found + _tagged(words[at:], spelled[at:])


def _without_modal_can(words: list[str]) -> list[str]:
    """The words without the verb "can", which is not the item: "can you lift the red can"."""
    people = {"you", "u", "we", "i", "it", "he", "she", "they", "someone", "somebody", "anyone"}
    kept = []
    for before, word, after, beyond in zip(
        ["", *words], words, [*words[1:], ""], [*words[2:], "", ""][: len(words)], strict=False
    ):
        is_noun = before in COLOUR_WORDS | {"the", "a", "that", "this", "tin"}
        is_modal = after in people | {"please"} or before in people
        is_first = not kept and after in ("the", "that", "this", "your", "a")
        is_modal |= is_first and (after, beyond) not in (("that", "is"), ("that", "s"))
        if word == "can" and is_modal and not is_noun:
            word = "could"
        kept.append(word)
    return kept


def _tagged(words: list[str], spelled: list[str]) -> list[Word]:
    """Tags words; the longest phrase counts."""
    found, at = [], 0
    while at < len(words):
        most = min(LONGEST_PHRASE, len(words) - at)
        phrases = [(length, tuple(words[at : at + length])) for length in range(most, 0, -1)]
        length, phrase = next((one for one in phrases if one[1] in MEANINGS), phrases[-1])
        text, said = " ".join(phrase), " ".join(spelled[at : at + length])
        is_adverb = len(text) > 4 and text.endswith("ly") and text.isascii()
        unlisted = ("filler" if is_adverb else "unknown", "")
        kind, meaning = MEANINGS.get(phrase, unlisted)
        found.append(Word(kind=kind, meaning=meaning, text=text, said=said))
        at += length
    return found


def _corrected(word: str, before: str) -> str:
    """The word without a typing error, if there is one word that it can only be."""
    if word in LISTED or word in NOT_TYPING_ERRORS:
        return word
    if word == "lft":  # "lift" or "left"
        return "left" if before in ("the", "to", "on") else "lift"
    likely = [other for other in CORRECTABLE if _is_slip(word, other)]
    likely = [other for other in likely if other[0] == word[0]] or likely
    return likely[0] if likely and len({CORRECTABLE[other] for other in likely}) == 1 else word


def _is_slip(word: str, other: str) -> bool:
    """Whether a word is another one with one letter missing, added, changed or swapped."""
    if abs(len(word) - len(other)) > 1 or not word.isascii() or len(word) < 2:
        return False
    start = next((n for n, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), None)
    if start is None:  # one is the beginning of the other
        return len(word) != len(other) and len(word) > 2
    rest, of_other = word[start:], other[start:]
    if len(word) == len(other):
        swapped = rest[1::-1] + rest[2:]
        changed = rest[1:] == of_other[1:] and len(word) > 3
        return changed or swapped == of_other
    longer, shorter = sorted((rest, of_other), key=len, reverse=True)
    return longer[1:] == shorter and min(len(word), len(other)) > 2
