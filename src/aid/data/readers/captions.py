"""A folder of videos with captions beside them, in the ways that people and trainers keep them.

    metadata.csv, captions.jsonl ...   a list, in the folder or in that of each split: caption_lists
    train.csv, captions_val.jsonl      a list per split
    metas/a.txt and videos/a.mp4       words of the same name; labels, captions, prompts likewise
    a.mp4 and a.txt                    words beside the video, also .caption and .json
    clip/frame_0001.jpg ...            without any video file: folders of numbered images

Videos that nobody describes come with empty words where there is no list, and are left out and
counted where there is one. A video that is listed several times has several wordings, or several
parts if each line says another time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from aid.data.files import parse_json, read_text
from aid.data.readers.caption_lists import PAIRS, TABLES, Listed, read_list, words_in
from aid.data.readers.file_tree import FileTree
from aid.data.splits import split_of_folder, split_of_stem
from aid.data.tally import Tally
from aid.types import VideoRow
from aid.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

STEMS = ("captions", "metadata", "manifest", "dataset", "", "prompts", "annotations", "videos")
"""What a list may be called, without the name of a split: `metadata_train.csv`, `val.jsonl`."""
NESTED = ("captions", "metadata")
"""Those that are looked for in folders below, too."""
VIDEO_FOLDERS = ("videos", "video", "clips")
TEXT_FOLDERS = ("metas", "labels", "captions", "prompts", "texts", "txt")
TEXT_SUFFIXES = (".txt", ".caption", ".cap", ".json")
PAPERS = ("readme", "license", "licence", "citation", "changelog", "requirements", "classes")
"""Texts that are no captions."""
OTHER_VIDEOS = frozenset(
    {".asf", ".f4v", ".vob", ".mxf", ".y4m", ".h264", ".hevc", ".h265", ".264", ".265", ".rm"}
    | {".rmvb", ".divx", ".npy", ".npz", ".pt", ".hdf5", ".h5", ".zip", ".tar", ".gz", ".7z"}
)
"""Files that may hold a video; those whose type is not read are counted."""


@dataclass
class _Said:
    """What lists say of one video, or of one part of it."""

    listed: Listed
    words: list[str] = field(default_factory=list)


def has_captions(folder: Path) -> bool:
    """Whether there is any video or folder of frames below the folder, or a list of them."""
    tree = FileTree.walk(folder)
    return bool(tree.videos or tree.frame_folders or _lists(tree))


def read_captions(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per video, or per part of one, in the order of the lists or else of the names.

    Raises:
        ValueError: a list is malformed, or two lists that belong together differ in length.
    """
    tree, tally = FileTree.walk(folder), Tally()
    lists = _lists(tree) or _fitting_lists(tree)
    used: set[str] = set()
    rows = list(_from_lists(tree, lists, tally, used)) if lists else []
    covered = _scopes(tree, lists)
    videos = tree.videos or ([] if lists else list(tree.frame_folders))
    taken = {row.video for row in rows}
    rest = [video for video in videos if video not in taken]
    listed_too = [video for video in rest if any(video.startswith(at) for at in covered)]
    for video in listed_too:
        tally.add("videos are not named in the list and are left out", video)
    rows += _beside(tree, sorted(set(rest) - set(listed_too)), used)
    for row in rows:
        if not row.instruction:
            tally.add("videos have no words", row.video)
    _note_leftovers(tree, lists, used, tally)
    if not rows and tally.notes():
        raise ValueError(f"{str(folder)!r} holds no video that can be read: {tally.notes()[0]}")
    unsaid = tally.number("videos have no words")
    notes += [note for note in tally.notes() if "videos have no words" not in note]
    if unsaid:
        notes.append(f"{unsaid} videos have no words.")
    if tree.frame_folders and not tree.videos and not lists:
        notes.append(
            f"{len(tree.frame_folders)} folders of images are taken for videos, their frames in "
            "the order of the numbers; give --fps."
        )
    yield from rows


def _lists(tree: FileTree) -> dict[str, str]:
    """Lists by name, each with the split that it is of.

    In each folder the first that fits, in the order of STEMS and TABLES; of one name for each split
    all of them.
    """
    of_folder: dict[str, dict[tuple[str, str], dict[str, str]]] = {}
    for file in tree.files:
        path = PurePosixPath(file)
        kind, (stem, split) = path.suffix.lower().lstrip("."), split_of_stem(path.stem)
        if file.endswith("/captions.txt") or (kind not in TABLES and file != "captions.txt"):
            continue
        folder = path.parent.as_posix()
        if stem in (STEMS if folder == "." else NESTED):
            of_folder.setdefault(folder, {}).setdefault((stem, kind), {})[file] = split
    found: dict[str, str] = {}
    for videos, words in PAIRS:
        for file in tree.files:
            path = PurePosixPath(file)
            if path.name == videos and (path.parent / words).as_posix() in tree.files:
                of_folder.pop(path.parent.as_posix(), None)
                found.setdefault(file, "")
    for lists in of_folder.values():
        order = [(stem, kind) for stem in STEMS for kind in (*TABLES, "txt")]
        first = lists[min(lists, key=order.index)]
        whole = {file: split for file, split in first.items() if not split}
        found |= whole or first
    return {file: split or split_of_folder(file) for file, split in found.items()}


def _fitting_lists(tree: FileTree) -> dict[str, str]:
    """Lists of any name beside the videos: those whose first line names one that is there."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    videos = {video.rpartition(".")[0] for video in tree.videos}
    for file in tree.files:
        path = PurePosixPath(file)
        kind, (stem, split) = path.suffix.lower().lstrip("."), split_of_stem(path.stem)
        if len(path.parts) > 2 or kind not in TABLES or file.rpartition(".")[0] in videos:
            continue
        try:
            first = next(iter(read_list(tree.folder, file)), None)
            base = path.parent.as_posix()
            if first and first.words and tree.find_video(base, first.video):
                found.setdefault((stem, kind), {})[file] = split or split_of_folder(file)
        except ValueError:  # a table of something else
            continue
    return next(iter(found.values()), {})


def _scopes(tree: FileTree, lists: dict[str, str]) -> list[str]:
    """Beginnings of the paths that lists speak of: their folders, or all where these are empty."""
    folders = [file.rpartition("/")[0] for file in lists]
    folders = [f"{folder}/" if folder else "" for folder in folders]
    return [at if any(v.startswith(at) for v in tree.videos) else "" for at in folders]


def _from_lists(
    tree: FileTree, lists: dict[str, str], tally: Tally, used: set[str]
) -> Iterator[VideoRow]:
    said: dict[tuple, _Said] = {}
    times: dict[str, set[tuple]] = {}
    for name, split in lists.items():
        base = name.rpartition("/")[0]
        for line in read_list(tree.folder, name):
            video = tree.find_video(base, line.video)
            if video is None:
                tally.add(f"{_missing(line.video)} that {name!r} names are left out", line.video)
                continue
            split_of_row = line.split or split or split_of_folder(video)
            line = replace(line, video=video, split=split_of_row)
            span = (line.start, line.stop) if _is_span(line) else (None, None)
            times.setdefault(video, set()).add(span)
            one = said.setdefault((video, line.split, *span), _Said(line))
            one.words += [words for words in line.words if words not in one.words]
    ids: set[str] = set()
    for (video, split, start, stop), one in said.items():
        is_part = start is not None and len(times[video]) > 1
        if start is not None and not is_part:
            tally.add("videos are read whole: each is listed once, whatever its times say", video)
        words = one.words
        if not words and not is_part:
            beside = _text_of(tree, video)
            words = [_read_words(tree, beside)] if beside else []
            used.update([beside] if beside else [])
        id = f"{video}#{start:g}-{stop:g}" if is_part else video
        id = f"{split}:{id}" if id in ids else id
        ids.add(id)
        episode = one.listed.episode or (video if is_part else _episode_of(video)[0])
        yield _row(
            id=id,
            video=video,
            instruction=next(iter(words), ""),
            wordings=words if len(words) > 1 else [],
            camera=one.listed.camera or _episode_of(video)[1],
            split=split,
            world={"episode": episode} if episode else {},
            start=start if is_part else 0.0,
            stop=stop if is_part else None,
        )


def _is_span(line: Listed) -> bool:
    return line.start is not None and line.stop is not None and line.stop > line.start


def _missing(name: str) -> str:
    is_image = PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
    return "pictures" if is_image else "videos which are not there"


def _row(**values) -> VideoRow:
    return VideoRow(**({"num_frames": 0, "fps": 0.0, "height": 0, "width": 0} | values))


def _beside(tree: FileTree, videos: list[str], used: set[str]) -> Iterator[VideoRow]:
    """Videos and the text of the same name beside them, or in `metas` for `videos`."""
    for video in videos:
        text = _text_of(tree, video)
        if text:
            used.add(text)
        episode, camera = _episode_of(video)
        yield _row(
            id=video,
            video=video,
            instruction=_read_words(tree, text) if text else "",
            split=split_of_folder(video),
            camera=camera,
            world={"episode": episode} if episode else {},
        )


def _episode_of(video: str) -> tuple[str, str]:
    """Episode and camera of `videos/SPLIT/EPISODE/CAMERA.mp4`, else nothing."""
    parts = PurePosixPath(video).parts
    is_known = (
        len(parts) >= 4 and parts[-4] in VIDEO_FOLDERS and split_of_folder(video) == parts[-3]
    )
    return ("/".join(parts[-3:-1]), PurePosixPath(video).stem) if is_known else ("", "")


def _text_of(tree: FileTree, video: str) -> str | None:
    """The file with a video's words."""
    path = PurePosixPath(video)
    places = [path]
    for number, part in enumerate(path.parts[:-1]):
        if part in VIDEO_FOLDERS:
            places += [
                PurePosixPath(*path.parts[:number], folder, *path.parts[number + 1 :])
                for folder in TEXT_FOLDERS
            ]
    is_file = video in tree.files
    for place in places:
        for suffix in TEXT_SUFFIXES:
            names = [place.with_suffix(suffix)] if is_file else []
            names.append(place.with_name(place.name + suffix))
            found = next((found for name in names if (found := tree.find(str(name)))), None)
            if found is not None:
                return found
    return None


def _read_words(tree: FileTree, name: str) -> str:
    text = read_text(tree.folder, name)
    if not name.endswith(".json"):
        return " ".join(text.split())
    value = parse_json(text, repr(str(tree.folder / name)))
    said = words_in(value) if isinstance(value, dict) else None
    return " ".join(said[0].split()) if said else ""


def _inner_set(file: str) -> str:
    """The folder below that a file makes a data set of LeRobot or VPP; "" if it does not."""
    parts = PurePosixPath(file).parts
    if parts[-2:] == ("meta", "info.json"):
        return "/".join(parts[:-2])
    is_json = file.endswith(".json")
    return "/".join(parts[: parts.index("annotation")]) if is_json and "annotation" in parts else ""


def _note_leftovers(tree: FileTree, lists: dict[str, str], used: set[str], tally: Tally) -> None:
    """Counts what lies there and is not read: other lists, other types of video, spare texts."""
    videos = set(tree.videos)
    folders = {file.rpartition("/")[0] for file in (*used, *tree.videos)}
    stems = {file.rpartition(".")[0] for file in tree.files if file.endswith(TEXT_SUFFIXES)}
    pairs = {name for pair in PAIRS for name in pair}
    for file in tree.files:
        path = PurePosixPath(file)
        suffix, stem = path.suffix.lower(), file.rpartition(".")[0]
        if file in lists or file in used or file in videos or path.name in pairs:
            continue
        is_captioned = stem in stems and suffix not in TEXT_SUFFIXES
        if suffix in OTHER_VIDEOS - VIDEO_SUFFIXES:
            tally.add(f"files are left out, because {suffix} is not read as a video", file)
        elif suffix in IMAGE_SUFFIXES and is_captioned:
            tally.add("pictures with words are left out", file)
        elif (
            suffix in (".txt", ".caption", ".cap")
            and (path.parent.name in TEXT_FOLDERS or file.rpartition("/")[0] in folders)
            and path.stem.lower() not in PAPERS
        ):
            reason = "are left out, because a list is read" if lists else "belong to no video"
            tally.add(f"files of words {reason}", file)
        elif suffix.lstrip(".") in TABLES and lists and split_of_stem(path.stem)[0] in STEMS:
            tally.add("lists are left out, because another is read", file)
    for inner in {} if lists else dict.fromkeys(filter(None, map(_inner_set, tree.files))):
        reason = "data sets of their own lie below and are read as plain videos; give one of them"
        tally.add(reason, inner)
    if tree.videos and not lists:
        for folder in tree.frame_folders:
            tally.add("folders of images are left out, because there are videos", folder)
    for link in tree.links:
        tally.add("folders are links and are not followed; put the folder itself there", link)
