"""Names of splits in the names of files and folders. Called by the readers.

The words are those that Hugging Face `datasets` looks for: between separators, anywhere in a name.
"""

import re

SPLITS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip


def is_same_split(one: str, other: str) -> bool:
    """Whether two names mean one split: "val" and "validation" do."""
    return one == other or (one in SPLITS and SPLITS[one] == SPLITS.get(other))


def split_of_folder(path: str) -> str:
    """The first folder of a relative path that is named like a split; "" if none is."""
    return next((part for part in path.split("/")[:-1] if part.lower() in SPLITS), "")


def split_of_stem(stem: str) -> tuple[str, str]:
    """A file's stem without the word for a split, and that word: ("captions", "val").

    Both are "" where there is nothing.
    """
    words = re.split(r"([^a-zA-Z]+)", stem)
    found = next((n for n, word in enumerate(words) if word.lower() in SPLITS), None)
    if found is None:
        return stem.lower(), ""
    rest = "".join(words[:found] + words[found + 1 :]).strip("_-. 0123456789")
    return rest.lower(), words[found]
