"""Groups tagged words into mentions of items: colour, shape, and where they stand in the sentence.

"the big red can", "the can that is red", "the red one" and "a hammer" are mentions.
"""

from dataclasses import dataclass, replace

from aid.tabletop.language.words import Word

_BETWEEN = frozenset(
    {
        "that",
        "which",
        "whose",
        "is",
        "s",
        "are",
        "has",
        "having",
        "being",
        "looks",
        "of",
        "in",
        "with",
    }
    | {"the", "a", "an", "colour", "color", "coloured", "colored", "painted", "it", "one"}
)
"""Words that may stand between a noun and its colour: "the can that is red"."""
_SKIPPED = frozenset({"exactly", "directly", "just", "straight", "down", "right", "there", "over"})


@dataclass(frozen=True, kw_only=True)
class Mention:
    """An item that the words name, as far as they do."""

    start: int
    end: int
    """Its words are `words[start:end]`."""
    colour: str | None = None
    shape: str | None = None
    is_thing: bool = False
    """Whether it is called "one" or "thing"."""
    other_colour: str | None = None
    """A colour that the table-top does not have."""
    unknown: str | None = None
    """The unknown noun, or an unknown adjective."""
    relation: str | None = None
    """Where the object is to go, relative to this item; None for the object itself."""
    relation_word: str = ""
    relation_at: int = -1
    side: str | None = None
    """Left or right, for the relation "side of"."""

    @property
    def is_item(self) -> bool:
        """Whether it may be an item of the table-top."""
        is_named = self.shape is not None or self.is_thing
        return is_named or (self.colour is not None and self.unknown is None)

    @property
    def is_complete(self) -> bool:
        """Whether it has a colour and a shape."""
        return self.colour is not None and self.shape is not None

    @property
    def name(self) -> str:
        """Its name as far as it was said, such as "red can" or "red one"."""
        return " ".join(part for part in (self.colour, self.shape or "one") if part)

    def may_be(self, other: "Mention") -> bool:
        """Whether both may be the same item."""
        is_colour = self.colour is None or self.colour == other.colour
        return is_colour and (self.shape is None or self.shape == other.shape)

    def fits(self, name: str) -> bool:
        """Whether an item of this name may be meant."""
        colour, shape = name.split()
        return self.colour in (None, colour) and self.shape in (None, shape)

    def placed(self, relation: str | None) -> "Mention":
        """The same with another relation."""
        return replace(self, relation=relation)


def find_mentions(words: list[Word]) -> list[Mention]:
    """The mentions in a sentence, in order."""
    found, at = [], 0
    while at < len(words):
        mention = _noun_phrase(words, at)
        if mention is None:
            at += 1
            continue
        found.append(_with_relation(words, mention))
        at = mention.end
    return found


def _noun_phrase(words: list[Word], start: int) -> Mention | None:
    colours, others, unknown = [], [], []
    shape, is_thing, at = None, False, start
    while at < len(words):
        word = words[at]
        if word.kind == "colour":
            colours.append(word.meaning)
        elif word.kind == "other colour":
            others.append(word.text)
        elif word.kind == "unknown" and at > start:
            unknown.append(word.text)
        elif word.kind in ("shape", "thing"):
            while word.kind == "shape" and at + 1 < len(words) and words[at + 1].kind == "shape":
                at, word = at + 1, words[at + 1]  # "tin can"
            shape = word.meaning or None
            is_thing = word.kind == "thing"
            at += 1
            break
        elif word.kind != "adjective" and not (word.kind == "determiner" and not colours):
            break
        at += 1
    if shape is None and not (is_thing or colours or others or unknown):
        return None
    if len(set(colours)) > 1:
        others.append(colours[1])
    if (shape is not None or is_thing) and not colours and not others:
        at, colours, others = _colour_behind(words, at)
    if is_thing and not (colours or others or unknown):
        return None
    return Mention(
        start=start, end=at, colour=colours[0] if colours else None, shape=shape,
        is_thing=is_thing, other_colour=others[0] if others else None,
        unknown=unknown[-1] if unknown else None,
    )  # fmt: skip


def _colour_behind(words: list[Word], end: int) -> tuple[int, list[str], list[str]]:
    """The colour behind a noun, as in "the can that is red", and the end of the mention."""
    at = end
    while at < len(words) and words[at].text in _BETWEEN:
        at += 1
    if at == len(words) or words[at].kind not in ("colour", "other colour"):
        return end, [], []
    beyond = at + 1
    while beyond < len(words) and words[beyond].kind in ("adjective", "colour", "unknown"):
        beyond += 1
    if beyond < len(words) and words[beyond].kind == "shape":
        return end, [], []  # the colour is the next item's
    last = at + 1
    if last < len(words) and words[last].kind == "thing":
        last += 1
    word = words[at]
    return last, *(([word.meaning], []) if word.kind == "colour" else ([], [word.text]))


def _with_relation(words: list[Word], mention: Mention) -> Mention:
    at = mention.start - 1
    while at >= 0 and words[at].text in _SKIPPED and words[at].kind == "filler":
        at -= 1
    if at >= 0 and words[at].kind == "side of":
        return replace(mention, relation="side of", relation_at=at, side=words[at].meaning)
    end = mention.end
    is_owner = len(words) > end + 1 and words[end].text == "s"
    if is_owner and words[end + 1].kind in ("direction", "spot", "side of"):
        side = words[end + 1].meaning
        return replace(mention, relation="side of", relation_at=end + 1, side=side)
    if at >= 0 and words[at].kind == "relation":
        word = words[at]
        return replace(mention, relation=word.meaning, relation_word=word.text, relation_at=at)
    return mention
