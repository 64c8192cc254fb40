"""Finds the task in a sentence that somebody says: verb, object, target and direction by slots.

`words` tags each word with what it means for the table-top, `mentions` groups them into items, and
the rules below decide which task the verbs, the places and the directions name. What cannot be
decided is answered with what was not understood and the nearest task, and never guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aid.tabletop.language.lexicon import QUESTIONS
from aid.tabletop.language.mentions import Mention, find_mentions
from aid.tabletop.language.tasks import COLOURS, CONTAINERS, OBJECTS, Task
from aid.tabletop.language.wordings import instructions
from aid.tabletop.language.words import Word, normalise, tag

KNOWN = (
    "The table-top knows blocks, cans, balls, bowls, plates and boxes in red, green, blue, yellow, "
    "purple and orange"
)
MAX_CHARACTERS = 1000

Picture = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Understanding:
    """The task of a sentence."""

    task: Task
    sentence: str
    """The sentence itself, if it is one of the simple wordings, else the canonical wording."""
    notes: tuple[str, ...] = ()
    """What was assumed: corrected typing errors, ignored words, items found in the picture."""


class NotUnderstood(ValueError):
    """A sentence that names no task of the table-top; `nearest` is a task that it resembles."""

    def __init__(self, said: str, problem: str, nearest: Task) -> None:
        shown = repr(said if len(said) <= 120 else said[:117] + "...")
        offered = instructions(nearest)[0]
        super().__init__(f"{shown} was not understood: {problem}. Nearest: {offered!r}.")
        self.problem, self.nearest = problem, nearest


class _Problem(Exception):
    """Why a sentence names no task."""


def understand(said: str, in_picture: Picture | None = None) -> Understanding:
    """The task that a sentence names.

    Args:
        said: any text.
        in_picture: for each item that the first frame shows its possible names, the likeliest
            first; None if they are unknown.

    Raises:
        NotUnderstood: the sentence names no task or several, or an item that is not in the picture.
    """
    words = tag(said[:MAX_CHARACTERS])
    mentions = find_mentions(words)
    try:
        if len(said) > MAX_CHARACTERS:
            raise _Problem(f"it has {len(said)} characters, and at most {MAX_CHARACTERS} are read")
        return _understanding(said, words, mentions, in_picture)
    except _Problem as problem:
        nearest = _nearest(words, mentions, in_picture)
        raise NotUnderstood(said, str(problem), nearest) from None


def _understanding(
    said: str, words: list[Word], mentions: list[Mention], in_picture: Picture | None
) -> Understanding:
    _refuse_other_speech(said, words, mentions)
    notes = [f"{w.said!r} was read as {w.text!r}" for w in words if w.said != w.text]
    notes += [f"{word!r} was ignored" for word in _ignored(words, mentions)]
    task = _task(words, mentions, in_picture, notes)
    if in_picture is not None:
        for name in (task.object, task.target):
            if name is not None and not any(name in names for names in in_picture):
                raise _Problem(f"the picture shows no {name}, only {_shown(in_picture)}")
    plain = normalise(said)
    simple = instructions(task)
    sentence = plain if plain in simple else simple[0]
    return Understanding(task=task, sentence=sentence, notes=tuple(notes))


def _refuse_other_speech(said: str, words: list[Word], mentions: list[Mention]) -> None:
    """Refuses what is no request for one task, whatever it names."""
    if not words:
        raise _Problem("it has no words")
    for word in words:
        if word.kind == "negation":
            raise _Problem(f"it says {word.text!r}; say what should happen instead")
    if words[0].text in QUESTIONS and words[0].kind != "verb":
        raise _Problem("it is a question; say what should happen")
    for word in words:
        if word.kind == "several":
            raise _Problem(f"{word.text!r} is more than one task; ask for one item at a time")
        if word.kind == "verb" and word.meaning == "other":
            raise _Problem(f"the arm cannot do {word.text!r}; it can put, push, stack and lift")
    for mention in mentions:
        if mention.other_colour is not None:
            raise _Problem(f"{mention.other_colour!r} is unknown. {KNOWN}")


def _ignored(words: list[Word], mentions: list[Mention]) -> list[str]:
    """The unknown words that are in no place where they would matter.

    Raises:
        _Problem: an unknown word stands for a verb, an item or a place.
    """
    named = [m for m in mentions if m.is_item]
    for mention in mentions:
        if mention.is_item or mention.unknown is None:
            continue
        before = words[mention.start - 1].kind if mention.start else ""
        if before in ("verb", "relation", "joint", "side of") or mention.colour or not named:
            raise _Problem(f"{mention.unknown!r} is unknown. {KNOWN}")
    is_loose = [word.kind == "unknown" for word in words]
    for at, loose in enumerate(is_loose):
        if not loose or any(m.start <= at < m.end and m.is_item for m in mentions):
            continue
        rest = [w.kind for w in words[at + 1 :] if w.kind not in ("filler", "joint", "unknown")]
        is_first = all(w.kind in ("filler", "unknown") for w in words[:at])
        after = words[at - 1].kind if at else ""
        is_verb = (is_first or after == "joint") and rest[:1] != ["verb"]
        if is_verb or after == "relation" or not any(w.kind == "verb" for w in words):
            raise _Problem(f"{words[at].text!r} is unknown. {KNOWN}, and put, push, stack, lift")
    found = [word.text for word, loose in zip(words, is_loose, strict=True) if loose]
    if len(found) > sum(word.kind not in ("filler", "unknown") for word in words):
        raise _Problem(f"most of its words are unknown, such as {found[0]!r}. {KNOWN}")
    return found


def _task(
    words: list[Word], mentions: list[Mention], in_picture: Picture | None, notes: list[str]
) -> Task:
    verbs = [word.meaning for word in words if word.kind == "verb"]
    items = [mention for mention in mentions if mention.is_item]
    if {"fill", "top"} & set(verbs):
        items = _filled(items, "on" if "top" in verbs else "in")
    objects, targets = _roles(items)
    if len(objects) > 1:
        names = _listed([m.name for m in objects.values()])
        raise _Problem(f"it asks for something of {names} at once; ask for one task at a time")
    if len(targets) > 1:
        names = _listed([m.name for m in targets.values()])
        raise _Problem(f"it names two places, {names}; ask for one task at a time")
    if not objects and not any(m.relation != "with" for m in targets.values()):
        objects, targets = targets, {}  # "to the left with the red can"
    if not objects:
        if not targets:
            raise _Problem(f"it names no item. {KNOWN}")
        raise _Problem("it does not say which block, can or ball is to be moved")
    (it,) = objects.values()
    if not targets:
        family, direction = _without_target(words, verbs)
        return Task(family, _resolved(it, OBJECTS, in_picture, notes), None, direction)
    (place,) = targets.values()
    if place.relation == "elsewhere":
        raise _Problem(
            f"the arm cannot put things {place.relation_word!r} something; it can put them in, on, "
            "left of or right of an item"
        )
    family, direction = _with_target(words, verbs, items, place)
    shapes = {"put": CONTAINERS, "stack": OBJECTS}.get(family, OBJECTS + CONTAINERS)
    # The target first: "put the red one on the blue plate".
    target = _resolved(place, shapes, in_picture, notes)
    name = _resolved(it, OBJECTS, in_picture, notes)
    if name == target:
        raise _Problem(f"it names the {name} twice; name another item as the place")
    return Task(family, name, target, direction)


def _roles(items: list[Mention]) -> tuple[dict[str, Mention], dict[str, Mention]]:
    """Objects and targets by their names; an item that is named twice is one."""
    objects: dict[str, Mention] = {}
    targets: dict[str, Mention] = {}
    for mention in items:
        known = [m for m in (*objects.values(), *targets.values()) if mention.may_be(m)]
        same = known[0] if len(known) == 1 and known[0].is_complete else mention
        if mention.relation is None:
            if same.name not in targets:
                objects.setdefault(same.name, same)
        elif same.name in objects and same is not mention:
            raise _Problem(f"it names the {same.name} twice; name another item as the place")
        else:
            targets.setdefault(same.name, mention)
    return objects, targets


def _filled(items: list[Mention], relation: str) -> list[Mention]:
    """For "fill the bowl with the ball" and "the bowl should contain the ball": what goes where."""
    first, *rest = items or [None]
    if first is None or first.relation is not None:
        return items
    others = [m.placed(None) if m.relation == "with" else m for m in rest]
    return [first.placed(relation), *others] if rest else items


def _with_target(
    words: list[Word], verbs: list[str], items: list[Mention], place: Mention
) -> tuple[str, str | None]:
    """The family of a task with a place, and its direction."""
    ways = _directions(words, but=place)
    _refuse_unclear(ways)
    lifts_last = verbs and verbs[-1] == "lift" and len(verbs) > 1 and "take" not in verbs[:-1]
    if lifts_last and words[-1].kind != "up":
        at = max(n for n, word in enumerate(words) if word.kind == "verb")
        if at > place.start:
            raise _Problem("it asks for two tasks; ask for one at a time")
    sides = {way for way in ways.values() if way in ("left", "right")}
    if place.relation == "side of":
        if set(ways.values()) - {place.side}:
            raise _Problem("it names two directions; ask for one task at a time")
        return "beside", place.side
    if place.relation == "near":
        if len(sides) == 1 and len(set(ways.values())) == 1:
            return "beside", sides.pop()
        raise _Problem(f"it does not say on which side of the {place.name}, left or right")
    if moving := [text for text, way in ways.items() if not text.startswith("on ") and way]:
        raise _Problem(f"it names a place and the direction {moving[0]!r}; ask for one of them")
    is_only_held = verbs and set(verbs) <= {"grasp", "lift"}
    if is_only_held and place.relation in ("in", "on"):
        raise _Problem("it does not say whether the place is where the item is or where it goes")
    shape = place.shape
    if place.relation == "to":
        if shape not in CONTAINERS or not verbs or {"push", "pull"} & set(verbs):
            raise _Problem(
                f"it does not say where at the {place.name}: in, on, left of or right of"
            )
        return "put", None
    if place.relation == "with" or (shape in OBJECTS and place.relation in ("in", "into")):
        raise _Problem(f"nothing can be put {place.relation_word} a {shape}; only on or beside it")
    return ("stack" if shape in OBJECTS else "put"), None


def _without_target(words: list[Word], verbs: list[str]) -> tuple[str, str | None]:
    """The family of a task with one item, and its direction."""
    kinds, ways = set(verbs), _directions(words)
    _refuse_unclear(ways)
    is_up = "lift" in kinds or any(word.kind == "up" for word in words)
    is_taken = bool(kinds) and kinds <= {"grasp", "take", "lift"}
    if len(set(ways.values())) > 1:
        raise _Problem(f"it names two directions, {_listed(ways)}")
    if ways:
        ((text, way),) = list(ways.items())[:1]
        is_spot = text.startswith("on ")
        if is_spot and (is_up or is_taken):
            return "lift", None  # "the can on the left" says where it is
        if is_up or kinds == {"grasp"} or "drop" in kinds or (is_taken and text == "away"):
            raise _Problem(f"it does not say whether to lift the item or to push it {text!r}")
        if text == "back" and kinds & {"pull", "place"}:
            raise _Problem("'back' may be towards the camera, away from it, or a place before")
        return "push", way
    if is_up and kinds & {"push", "pull", "place", "drop", "stack"}:
        raise _Problem(
            "it can lift an item, or push it to the left, to the right, towards the camera or away "
            "from it"
        )
    if is_up or is_taken:
        return "lift", None
    if "pull" in kinds:
        return "push", "towards the camera"
    if "push" in kinds:
        raise _Problem("it does not say where to: left, right, towards the camera or away from it")
    if kinds & {"place", "drop", "move", "stack"}:
        raise _Problem("it does not say where to: in, on, left of or right of which item")
    raise _Problem("it does not say what should happen: put, push, stack or lift")


def _refuse_unclear(ways: dict[str, str]) -> None:
    for text, way in ways.items():
        if not way:
            raise _Problem(
                f"{text!r} is no direction of the table-top: left, right, towards the camera and "
                "away from the camera"
            )


def _directions(words: list[Word], but: Mention | None = None) -> dict[str, str]:
    """The directions that the words name, by what was said."""
    found = {}
    for at, word in enumerate(words):
        if but is not None and at == but.relation_at:
            continue
        if word.kind in ("direction", "spot", "side of", "its side"):
            beyond = words[at + 1].text if at + 1 < len(words) else ""
            of_it = word.kind == "side of" and beyond in ("it", "this", "that")
            spot = "on " if word.kind == "spot" else ""
            found[spot + word.text] = "" if of_it else word.meaning
        elif word.kind == "back":
            beyond = words[at + 1].kind if at + 1 < len(words) else ""
            if beyond not in ("relation", "side of", "direction"):
                found[word.text] = "away from the camera"
    return found


def _resolved(
    mention: Mention, shapes: Sequence[str], in_picture: Picture | None, notes: list[str]
) -> str:
    """The name of a mentioned item; a missing colour or shape is taken from the picture."""
    if mention.shape is not None and mention.shape not in shapes:
        if set(shapes) == set(OBJECTS):
            raise _Problem(
                f"the arm cannot move a {mention.shape}; it moves blocks, cans and balls"
            )
        raise _Problem(f"nothing can be put there: a {mention.shape} is none of {_listed(shapes)}")
    if mention.is_complete:
        return mention.name
    fitting = [
        [name for name in names if name.split()[1] in shapes and mention.fits(name)]
        for names in in_picture or ()
    ]
    if len(fitting := [names for names in fitting if names]) == 1:
        name = fitting[0][0]
        notes.append(f"the {mention.name} is the {name} in the picture")
        return name
    wanted = "colour" if mention.shape is not None else "item"
    of = f" The picture shows {_shown(in_picture)}" if in_picture else f" {KNOWN}"
    raise _Problem(f"it does not say which {wanted} 'the {mention.name}' is.{of}")


def _nearest(words: list[Word], mentions: list[Mention], in_picture: Picture | None) -> Task:
    """A task that the table-top can do and that resembles the sentence."""
    pool = [f"{c} {s}" for c in COLOURS for s in OBJECTS + CONTAINERS]
    if in_picture is not None:
        pool = [name for names in in_picture for name in names[:1]]
    objects = [name for name in pool if name.split()[1] in OBJECTS]
    containers = [name for name in pool if name.split()[1] in CONTAINERS]
    if not objects:
        return Task("lift", "red block")

    def best(mention: Mention | None, names: list[str]) -> str:
        if mention is None:
            return names[0]
        return max(names, key=lambda n: (n.split()[0] == mention.colour)
                   + (n.split()[1] == mention.shape))  # fmt: skip

    movable = [m for m in mentions if m.shape not in CONTAINERS]
    it = next((m for m in movable if m.relation is None), next(iter(movable), None))
    name = best(it, objects)
    places = [m for m in mentions if m is not it and m.relation is not None]
    verbs = {word.meaning for word in words if word.kind == "verb"}
    for place in places:
        others = [one for one in (objects if place.shape in OBJECTS else containers) if one != name]
        if others and place.relation in ("near", "elsewhere", "side of"):
            return Task("beside", name, best(place, others), place.side or "left")
        if others and place.shape in OBJECTS:
            return Task("stack", name, best(place, others))
        if containers:
            return Task("put", name, best(place, containers))
    ways = [way for way in _directions(words).values() if way]
    if ways or "push" in verbs:
        return Task("push", name, None, ways[0] if ways else "left")
    other = next((m for m in mentions if m is not it and m.shape in CONTAINERS), None)
    if containers and (verbs & {"place", "drop", "stack"} or other is not None):
        return Task("put", name, best(other, containers))
    return Task("lift", name)


def _shown(in_picture: Picture) -> str:
    return _listed([f"a {names[0]}".replace("a orange", "an orange") for names in in_picture])


def _listed(names: Sequence[str] | dict) -> str:
    """The names with commas and "and"."""
    *most, last = [str(name) for name in names] or ["nothing"]
    return f"{', '.join(most)} and {last}" if most else last
