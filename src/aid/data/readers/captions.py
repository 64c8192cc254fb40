"""A folder of videos with captions, in the layouts that people and trainers use.

    metadata.csv, captions.jsonl ...   a list in the folder or in each split's (`caption_lists`)
    train.csv, captions_val.jsonl      a list per split
    metas/a.txt and videos/a.mp4       a caption of that name; labels, captions, prompts likewise
    a.mp4 and a.txt                    a caption beside the video, also .caption and .json
    clip/frame_0001.jpg ...            without any video file: folders of numbered images

A video without a caption has an empty instruction if there is no list; if there is one, it is left
out and counted. A video that is listed several times has several wordings, or several parts if the
lines give different times.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from aid.data.files import parse_json, read_text
from aid.data.readers import unopened_row
from aid.data.readers.caption_lists import PAIRS, TABLES, Listed, read_list, words_in
from aid.data.readers.file_tree import FileTree, split_of_folder, split_of_stem
from aid.types import VideoRow
from aid.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from aid.video.notes import IssueCounter

STEMS = ("captions", "metadata", "manifest", "dataset", "", "prompts", "annotations", "videos")
"""Names of lists, without the name of a split: `metadata_train.csv`, `val.jsonl`."""
NESTED = ("captions", "metadata")
"""Those that may also be in folders below."""
VIDEO_FOLDERS = ("videos", "video", "clips")
TEXT_FOLDERS = ("metas", "labels", "captions", "prompts", "texts", "txt")
TEXT_SUFFIXES = (".txt", ".caption", ".cap", ".json")
DOCUMENTS = ("readme", "license", "licence", "citation", "changelog", "requirements", "classes")
"""Text files that are not captions."""
OTHER_VIDEOS = frozenset(
    {".asf", ".f4v", ".vob", ".mxf", ".y4m", ".h264", ".hevc", ".h265", ".264", ".265", ".rm"}
    | {".rmvb", ".divx", ".npy", ".npz", ".pt", ".hdf5", ".h5", ".zip", ".tar", ".gz", ".7z"}
)
"""Files that may hold a video but are not read; they are counted."""


@dataclass
class _Entry:
    """All lines of the lists about one video, or one part of it."""

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
    tree, issues = FileTree.walk(folder), IssueCounter()
    lists = _lists(tree) or _fitting_lists(tree)
    used: set[str] = set()
    rows = list(_from_lists(tree, lists, issues, used)) if lists else []
    covered = _scopes(tree, lists)
    videos = tree.videos or ([] if lists else list(tree.frame_folders))
    taken = {row.video for row in rows}
    rest = [video for video in videos if video not in taken]
    listed_too = [video for video in rest if any(video.startswith(at) for at in covered)]
    for video in listed_too:
        issues.add("videos are not named in the list and are left out", video)
    rows += _beside(tree, sorted(set(rest) - set(listed_too)), used)
    for row in rows:
        if not row.instruction:
            issues.add("videos have no instruction", row.video)
    _note_leftovers(tree, lists, used, issues)
    if not rows and issues.notes():
        raise ValueError(f"{str(folder)!r} holds no video that can be read: {issues.notes()[0]}")
    notes += issues.notes()
    if tree.frame_folders and not tree.videos and not lists:
        notes.append(
            f"{len(tree.frame_folders)} folders of images are read as videos, their frames in "
            "the order of their numbers; give --fps."
        )
    yield from rows


def _lists(tree: FileTree) -> dict[str, str]:
    """Lists by name, each with its split.

    In each folder the first list in the order of STEMS and TABLES is used, or all of that name if
    there is one for each split.
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
    """Lists of any name beside the videos whose first line names an existing video."""
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
    """Beginnings of the paths that lists cover: their folders, or "" if these have no video."""
    folders = [file.rpartition("/")[0] for file in lists]
    folders = [f"{folder}/" if folder else "" for folder in folders]
    return [at if any(v.startswith(at) for v in tree.videos) else "" for at in folders]


def _from_lists(
    tree: FileTree, lists: dict[str, str], issues: IssueCounter, used: set[str]
) -> Iterator[VideoRow]:
    entries: dict[tuple, _Entry] = {}
    times: dict[str, set[tuple]] = {}
    for name, split in lists.items():
        base = name.rpartition("/")[0]
        for line in read_list(tree.folder, name):
            video = tree.find_video(base, line.video)
            if video is None:
                issues.add(f"{_missing(line.video)} that {name!r} names are left out", line.video)
                continue
            split_of_row = line.split or split or split_of_folder(video)
            line = replace(line, video=video, split=split_of_row)
            span = (line.start, line.stop) if _is_span(line) else (None, None)
            times.setdefault(video, set()).add(span)
            one = entries.setdefault((video, line.split, *span), _Entry(line))
            one.words += [words for words in line.words if words not in one.words]
    ids: set[str] = set()
    for (video, split, start, stop), one in entries.items():
        is_part = start is not None and len(times[video]) > 1
        if start is not None and not is_part:
            issues.add(
                "videos are read completely although the list gives times: each is listed once",
                video,
            )
        words = one.words
        if not words and not is_part:
            beside = _text_of(tree, video)
            words = [_read_words(tree, beside)] if beside else []
            used.update([beside] if beside else [])
        id = f"{video}#{start:g}-{stop:g}" if is_part else video
        id = f"{split}:{id}" if id in ids else id
        ids.add(id)
        episode = one.listed.episode or (video if is_part else _episode_of(video)[0])
        yield unopened_row(
            words,
            id=id,
            video=video,
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
    return "pictures" if is_image else "missing videos"


def _beside(tree: FileTree, videos: list[str], used: set[str]) -> Iterator[VideoRow]:
    """Videos with the caption of the same name beside them, or in `metas` for `videos`."""
    for video in videos:
        text = _text_of(tree, video)
        if text:
            used.add(text)
        episode, camera = _episode_of(video)
        yield unopened_row(
            [_read_words(tree, text)] if text else [],
            id=video,
            video=video,
            split=split_of_folder(video),
            camera=camera,
            world={"episode": episode} if episode else {},
        )


def _episode_of(video: str) -> tuple[str, str]:
    """Episode and camera of `videos/SPLIT/EPISODE/CAMERA.mp4`, else ""."""
    parts = PurePosixPath(video).parts
    is_known = (
        len(parts) >= 4 and parts[-4] in VIDEO_FOLDERS and split_of_folder(video) == parts[-3]
    )
    return ("/".join(parts[-3:-1]), PurePosixPath(video).stem) if is_known else ("", "")


def _text_of(tree: FileTree, video: str) -> str | None:
    """The file with a video's caption."""
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
    words = words_in(value) if isinstance(value, dict) else None
    return " ".join(words[0].split()) if words else ""


def _inner_set(file: str) -> str:
    """The folder of the LeRobot or VPP data set that a file belongs to; "" if there is none."""
    parts = PurePosixPath(file).parts
    if parts[-2:] == ("meta", "info.json"):
        return "/".join(parts[:-2])
    is_json = file.endswith(".json")
    return "/".join(parts[: parts.index("annotation")]) if is_json and "annotation" in parts else ""


def _note_leftovers(
    tree: FileTree, lists: dict[str, str], used: set[str], issues: IssueCounter
) -> None:
    """Counts files that are not read: other lists, other types of video, captions of no video."""
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
            issues.add(f"files are left out, because {suffix} is not read as a video", file)
        elif suffix in IMAGE_SUFFIXES and is_captioned:
            issues.add("pictures with captions are left out", file)
        elif (
            suffix in (".txt", ".caption", ".cap")
            and (path.parent.name in TEXT_FOLDERS or file.rpartition("/")[0] in folders)
            and path.stem.lower() not in DOCUMENTS
        ):
            reason = "are left out, because a list is read" if lists else "belong to no video"
            issues.add(f"caption files {reason}", file)
        elif suffix.lstrip(".") in TABLES and lists and split_of_stem(path.stem)[0] in STEMS:
            issues.add("lists are left out, because another is read", file)
    for inner in {} if lists else dict.fromkeys(filter(None, map(_inner_set, tree.files))):
        reason = (
            "data sets in folders below are read as plain videos; give the folder of one of them"
        )
        issues.add(reason, inner)
    if tree.videos and not lists:
        for folder in tree.frame_folders:
            issues.add("folders of images are left out, because there are videos", folder)
    for link in tree.links:
        issues.add("folders are links and are not followed; copy the folder itself", link)
