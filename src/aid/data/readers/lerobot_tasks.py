"""The instructions of an episode of a LeRobot data set: tasks, wordings, stages.

    task_index            which task a frame belongs to (tasks.jsonl, tasks.parquet)
    subtask_index         which stage a frame belongs to (subtasks.parquet)
    language_persistent   rows with a style: "subtask" is a stage, "task_aug" a wording
    *instruction*         text columns, in exports of other robots' data

Most episodes need none of these columns: one task, in the list of episodes.
"""

import bisect
import functools
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from aid.data.files import number_in, read_json_lines, read_parquet
from aid.types import State
from aid.video.notes import IssueCounter

LANGUAGE = "language_persistent"


@dataclass(frozen=True, kw_only=True)
class TaskSpan:
    """Frames `start` to `stop` (excluded) of an episode, and their task."""

    start: int
    stop: int
    instruction: str
    wordings: list[str] = field(default_factory=list)
    states: list[State] = field(default_factory=list)


@dataclass(frozen=True)
class Tables:
    """The tables of a data set that hold tasks and stages, read when they are needed."""

    folder: Path
    features: dict[str, dict]
    fps: float
    is_v3: bool
    issues: IssueCounter
    _open: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def tasks(self) -> dict[int, str]:
        """The tasks by number."""
        if self.is_v3:
            return _numbered(self.folder, "meta/tasks.parquet", "task")
        name, tasks = "meta/tasks.jsonl", {}
        for line, row in read_json_lines(self.folder, name):
            where = f"{str(self.folder / name)!r}, line {line}"
            tasks[int(number_in(row, "task_index", where))] = str(row.get("task", ""))
        return tasks

    @functools.cached_property
    def subtasks(self) -> dict[int, str]:
        """The stages by number; empty if the data set has none."""
        name = "meta/subtasks.parquet"
        has = "subtask_index" in self.features and (self.folder / name).is_file()
        return _numbered(self.folder, name, "subtask") if has else {}

    def frames(self, table: str, episode: int) -> dict[str, list]:
        """The columns of tasks and stages, a value per frame of the episode."""
        if self._open.get("name") != table:  # one file holds many episodes: keep the last one open
            columns = ["episode_index", "task_index", "subtask_index", LANGUAGE, *self.texts]
            read = read_parquet(self.folder, table, columns)
            if "episode_index" not in read.column_names:
                raise ValueError(f"{str(self.folder / table)!r} has no column 'episode_index'.")
            read = read.sort_by("episode_index")
            self._open.update(name=table, table=read, of=read.column("episode_index").to_pylist())
        read, of = self._open["table"], self._open["of"]
        start = bisect.bisect_left(of, episode)
        return read.slice(start, bisect.bisect_right(of, episode) - start).to_pydict()

    @functools.cached_property
    def texts(self) -> list[str]:
        """Names of the text columns that hold instructions."""
        kinds = {name: feature.get("dtype") for name, feature in self.features.items()}
        return [n for n, kind in kinds.items() if kind == "string" and "instruction" in n.lower()]


def spans_of(
    tables: Tables, table: str, index: int, length: int, tasks: list[str]
) -> list[TaskSpan]:
    """The spans of an episode in order: one, or one per task if the task changes.

    Args:
        table: the Parquet file of the episode's frames.
        index: of the episode; `length` is its number of frames.
        tasks: as the list of episodes says.

    Raises:
        ValueError: a table is missing or malformed.
    """
    has_more = LANGUAGE in tables.features or tables.texts or tables.subtasks
    is_one = len(tasks) == 1 and not _has_other_tasks(tables, table, index, tasks[0])
    if is_one and not has_more:
        return [TaskSpan(start=0, stop=length, instruction=tasks[0])]
    frames = tables.frames(table, index)
    where = f"{str(tables.folder / table)!r}, episode {index}"
    wordings = _wordings(frames, tables.texts)
    stages = _stages(frames, tables, length, where)
    numbers = frames.get("task_index", [])
    if is_one or not numbers:
        spans = [(0, length, tasks[0] if tasks else "")]
    else:
        spans = [(a, b, _text(tables.tasks, n, where)) for n, a, b in _runs(numbers)]
        if len(spans) == 1 and len(tasks) > 1:  # tasks of no frame are wordings of the one
            wordings = list(dict.fromkeys([spans[0][2], *tasks, *wordings]))
    return [
        TaskSpan(
            start=start,
            stop=stop,
            instruction=task or next(iter(wordings), ""),
            wordings=wordings,
            states=[part for stage in stages if (part := stage.within(start, stop))],
        )
        for start, stop, task in spans
    ]


def _has_other_tasks(tables: Tables, table: str, index: int, task: str) -> bool:
    """Whether the table of frames names other tasks than the list of episodes.

    They are compared for v3, if the table can be read; else the list is used.
    """
    if not tables.is_v3 or not task:
        return False
    try:
        numbers = dict.fromkeys(tables.frames(table, index).get("task_index", []))
        named = [tables.tasks.get(number) for number in numbers]
    except ValueError:
        return False
    if not named or None in named or named == [task]:
        return False
    reason = (
        "episodes have other tasks in the table of frames than in the list; the frames' are used"
    )
    tables.issues.add(reason, f"episode {index}: {named[0]!r}, not {task!r}")
    return True


def _wordings(frames: dict[str, list], columns: list[str]) -> list[str]:
    """Distinct wordings: of the text columns and of the style "task_aug"."""
    wordings = [frames[column][0] for column in columns if frames.get(column)]
    wordings += [row.get("content") for row in _language(frames) if row.get("style") == "task_aug"]
    return list(dict.fromkeys(s.strip() for s in wordings if isinstance(s, str) and s.strip()))


def _language(frames: dict[str, list]) -> list[dict[str, Any]]:
    """The rows of the persistent language column; every frame of an episode repeats them."""
    rows = next((cell for cell in frames.get(LANGUAGE, []) if cell), [])
    return [row for row in rows if isinstance(row, dict)]


def _stages(frames: dict[str, list], tables: Tables, length: int, where: str) -> list[State]:
    """The annotated stages in order, each until the next begins."""
    annotated = [row for row in _language(frames) if row.get("style") == "subtask"]
    if annotated:
        begins = sorted(
            (round(number_in(row, "timestamp", where) * tables.fps), str(row.get("content") or ""))
            for row in annotated
        )
        stops = [*(begin for begin, _ in begins[1:]), length]
        runs = [(text, a, b) for (a, text), b in zip(begins, stops, strict=True)]
    elif tables.subtasks and frames.get("subtask_index"):
        runs = [
            (
                _text(tables.subtasks, number, where) if number is not None and number >= 0 else "",
                a,
                b,
            )
            for number, a, b in _runs(frames["subtask_index"])
        ]
    else:
        return []
    return [State(text=t, first_frame=a, last_frame=b - 1) for t, a, b in runs if t and b > a]


def _runs(values: list) -> list[tuple[Any, int, int]]:
    """Runs of equal values as (value, start, stop)."""
    runs, start = [], 0
    for value, group in groupby(values):
        stop = start + sum(1 for _ in group)
        runs.append((value, start, stop))
        start = stop
    return runs


def _text(texts: dict[int, str], number: Any, where: str) -> str:
    if number not in texts:
        raise ValueError(
            f"{where}: number {number!r} is not in the table of texts, which has {len(texts)} rows."
        )
    return texts[number]


def _numbered(folder: Path, name: str, noun: str) -> dict[int, str]:
    """Texts by number, of a table whose index holds the texts, with or without a name."""
    table = read_parquet(folder, name).to_pydict()
    texts = next((table[c] for c in (noun, "__index_level_0__") if c in table), None)
    numbers = table.get(f"{noun}_index")
    if texts is None or numbers is None:
        raise ValueError(
            f"{str(folder / name)!r} must have {noun}_index and the texts, got {list(table)}."
        )
    return {int(number): str(text) for number, text in zip(numbers, texts, strict=True)}
