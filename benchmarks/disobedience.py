"""Which instructions a model does not follow, and what its videos show instead, from a report.

COMMAND  aid evaluate --data data/tabletop/val --out report --limit 200
         python benchmarks/disobedience.py --report report --data data/tabletop/val
HARDWARE one CPU core
TIME     two seconds

"Another object has the object's colour" concerns the object that is to be moved, which then only
the shape word identifies, and not its target. An item is lost if the reader does not find it in
the last frame.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from aid.data.manifest import read_manifest
from aid.evaluate.cases import MODES
from aid.evaluate.judge import wilson_interval
from aid.tabletop.language import understand
from aid.tabletop.reader.instruction import MOVED
from aid.types import VideoRow

TWIN, OWN = "another object has the object's colour", "the object's colour is its own"


def twins_of(row: VideoRow) -> list[str]:
    """The other objects that have the colour of the named one."""
    named = row.world["items"][row.world["task"]["object_index"]]
    return [
        item["name"]
        for item in row.world["items"]
        if not item["is_container"]
        and item["colour"] == named["colour"]
        and item["name"] != named["name"]
    ]


def kinds_of(row: VideoRow) -> list[str]:
    """The lines of the table on which a row is counted."""
    task = row.world["task"]
    colour = row.world["items"][task["object_index"]]["colour"]
    direction = [f"given {task['direction'].split()[0]}"] if task["direction"] else []
    return [task["family"], TWIN if twins_of(row) else OWN, f"{colour} object", *direction]


def shown_instead(row: VideoRow, video: dict[str, Any]) -> str:
    """What a failed video shows, in words; `video` is its line of report.json."""
    named = understand(row.instruction).task
    shown = video["shown"] and understand(video["shown"]).task
    if shown in [replace(named, object=name) for name in twins_of(row)]:
        return "the same with the other object of that colour"
    if video["holds"]:
        return "the named task, but not only that"
    if shown is not None:
        return "another task"
    if video["num_lost"]:
        return "no task, an item is lost"
    # A mean over all other items: together they have moved so many times as far.
    has_moved = video["bystander_displacement"] * (len(row.world["items"]) - 1) > MOVED
    return "no task, another object moves" if has_moved else "no task"


def main() -> None:
    """Prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the split that was evaluated")
    options = parser.parse_args()
    card = options.report / "report.json"
    if not card.is_file():
        parser.error(f"{str(options.report)!r} holds no report.json. Make one: aid evaluate")
    try:
        rows = {row.id: row for row in read_manifest(options.data)}
    except ValueError as error:
        parser.error(str(error))
    report = json.loads(card.read_text(encoding="utf-8"))
    videos = [video for video in report["videos"] if video["set"] == MODES["true"]]
    if unknown := [video["id"] for video in videos if video["id"] not in rows]:
        parser.error(f"{str(options.data)!r} has no {unknown[0]!r}. Give the split of the report.")

    by_kind: dict[str, list[bool]] = {}
    instead: dict[tuple[str, str], int] = {}
    for video in videos:
        row = rows[video["id"]]
        for kind in ["all", *kinds_of(row)]:
            by_kind.setdefault(kind, []).append(video["is_obeyed"])
        if not video["is_obeyed"]:
            key = (TWIN if twins_of(row) else OWN, shown_instead(row, video))
            instead[key] = instead.get(key, 0) + 1

    print("| | follow | of | | 95 % |\n| --- | --- | --- | --- | --- |")
    for kind, obeyed in by_kind.items():
        low, high = wilson_interval(sum(obeyed), len(obeyed))
        share = sum(obeyed) / len(obeyed)
        print(f"| {kind} | {sum(obeyed)} | {len(obeyed)} | {share:.1%} | {low:.1%} to {high:.1%} |")
    print("\n| does not follow, where | it shows | videos |\n| --- | --- | --- |")
    for (where, what), number in sorted(instead.items(), key=lambda one: -one[1]):
        print(f"| {where} | {what} | {number} |")


if __name__ == "__main__":
    main()
