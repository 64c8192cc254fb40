"""Parses the states in a language model's answer, or gives the reason why it cannot.

`language_model.py` calls it with the text of an answer; it depends on no particular model.
"""

import json
import re
from typing import Any

MAX_WORDS = 60  # of one state; the text tower reads about 50

_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[a-z]*\s*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_NUMBER_WORDS = "one|two|three|four|five|six|seven|eight|nine|ten"
_NUMBERED = re.compile(
    r"[*_#>\s]*(?:\(?\d{1,2}\s?[.):\]](?!\d)|\[\d{1,2}\]"
    rf"|(?:state|stage|step|phase|frame)\s*#?(?:\d{{1,2}}|{_NUMBER_WORDS})\s*[:.)\-–—])\s*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\s*[-*•–—]\s+")
_INLINE = re.compile(r"(?:^|\s)\(?(\d{1,2})[.):]\s+")
_REFUSAL = re.compile(
    r"(?:i['’]?m sorry|i am sorry|sorry,|i apologi[sz]e|as an ai\b|unfortunately,? i\b"
    r"|i (?:can['’]?t|cannot|can not|am unable|['’]m unable|do not see|don['’]t see))",
    re.IGNORECASE,
)
_CHATTER = re.compile(
    r"(?:sure\b|certainly\b|of course\b|okay\b|ok\b|here (?:is|are)\b|here['’]s\b|i hope\b"
    r"|let me know\b|note:|answer:)|.*:$",
    re.IGNORECASE,
)


class UnusableAnswer(ValueError):
    """An answer without the requested states.

    `kind` is "empty", "refusal", "too few", "malformed" or "rambling".
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


def read_answer(answer: str, num_states: int) -> list[str]:
    """The states in an answer, earliest first, exactly `num_states`.

    Parses numbered lines, bullets, JSON (also in a code fence or between words), numbers within one
    line, plain lines and plain sentences; ignores reasoning, headings and chatter. If there are too
    many states, it selects `num_states` evenly from first to last, because the last one is the
    outcome. Too few states are an error, because missing stages cannot be invented.

    Raises:
        UnusableAnswer: the answer does not contain such states.
    """
    text = _THOUGHTS.sub("", printable(answer)).strip()
    if fenced := _FENCE.search(text):
        text = fenced[1].strip()
    if not text:
        raise UnusableAnswer("empty", "the answer is empty")
    found = _from_json(text)
    if found is None:
        found = _from_lines(text)
    states = [state for state in map(_clean, found) if re.search(r"\w", state)]
    if any(map(_REFUSAL.match, states)) or (len(states) < num_states and _REFUSAL.match(text)):
        raise UnusableAnswer("refusal", f"it says {_short(text)}")
    if len(states) < num_states:
        raise UnusableAnswer("too few", f"{len(states)} of {num_states} in {_short(text)}")
    if long := [state for state in states if len(state.split()) > MAX_WORDS]:
        raise UnusableAnswer("rambling", f"a state of {len(long[0].split())} words")
    return _thin(states, num_states)


def printable(text: str) -> str:
    """A text from outside without control characters, which could control a terminal.

    Line ends and tabs stay; other characters that cannot be printed become spaces.
    """
    text = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _clean(state: str) -> str:
    """One state as a plain sentence: no mark-up, no quotes, no full stop, single spaces."""
    return " ".join(state.split()).strip(" \"'“”‘’*_#`,;").removesuffix(".").rstrip(" \"'“”’*_`")


def _thin(states: list[str], number: int) -> list[str]:
    if len(states) == number:
        return states
    if number == 1:
        return states[-1:]
    return [states[round(i * (len(states) - 1) / (number - 1))] for i in range(number)]


def _from_json(text: str) -> list[str] | None:
    """The states in the first JSON value that contains some; None if there is no JSON."""
    decoder = json.JSONDecoder()
    for match in list(re.finditer(r"[\[{]", text))[:20]:
        try:
            value, _ = decoder.raw_decode(text, match.start())
        except (json.JSONDecodeError, RecursionError):
            continue
        if found := _strings(value):
            return found
    if text[0] in "[{" and not _NUMBERED.match(text):
        raise UnusableAnswer("malformed", f"JSON without a list of states: {_short(text)}")
    return None


def _strings(value: Any) -> list[str] | None:
    """The sentences of a list, of a list of objects, or of an object that contains such a list."""
    if isinstance(value, dict):
        inner = [found for v in value.values() if isinstance(v, list) and (found := _strings(v))]
        if inner:
            return inner[0]
        words = [v for v in value.values() if isinstance(v, str)]
        return words if len(words) == len(value) > 1 else None
    if isinstance(value, list) and value:
        found = [_sentence(item) for item in value]
        return found if all(sentence is not None for sentence in found) else None
    return None


def _sentence(item: Any) -> str | None:
    if isinstance(item, dict):
        named = [item[key] for key in ("state", "text", "description", "sentence") if key in item]
        words = [value for value in named or item.values() if isinstance(value, str)]
        item = words[0] if words else None
    return item if isinstance(item, str) else None


def _from_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbers = [int(match[1]) for match in _INLINE.finditer(text)]
    for mark in (_NUMBERED, _BULLET):
        marked = [index for index, line in enumerate(lines) if mark.match(line)]
        if mark is _NUMBERED and len(marked) < len(numbers) == max(numbers, default=0):
            return _INLINE.sub("\n", text).strip().split("\n")[-len(numbers) :]
        if marked:
            return _marked(lines, marked, mark)
    if len(lines) == 1:
        lines = re.split(r"(?<=[.!?;])\s+", lines[0])
    return [line for line in lines if not _CHATTER.match(line)]


def _marked(lines: list[str], marked: list[int], mark: re.Pattern) -> list[str]:
    """The marked lines with their continuation lines; lines before and after are chatter."""
    states = []
    for index, following in zip(marked, [*marked[1:], None], strict=True):
        own = mark.sub("", lines[index], count=1)
        # After the last mark follows a closing remark, unless the mark has a line of its own.
        stop = following or (index + 1 if own else index + 2)
        states.append(" ".join([own, *lines[index + 1 : stop]]))
    return states
