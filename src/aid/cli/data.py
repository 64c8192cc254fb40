"""The commands about data sets before they are prepared: what is in one, and several as one."""

import json as json_format
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from aid.cli.terminal import check_output, print_facts, step_bars
from aid.config import (
    FrameConfig,
    ModelConfig,
    Precision,
    SourceConfig,
)

GB, NUM_NAMED = 1e9, 5
MOST_VIDEOS, MOST_SECONDS = 500, 20.0
"""Videos that are looked at if nobody says, and about how long."""


def verify(cache: Path) -> None:
    """Reads all of a cache and compares it with the checksums that were written with it.

    Args:
        cache: a folder that `aid prepare` or `aid train --data` wrote.
    """
    from aid.data.cache import verify as verify_cache

    number, size = verify_cache(cache)
    print(f"{number} files, {size / GB:.2f} GB: all are as they were written")


def inspect(
    source: str,
    selection: SourceConfig,
    sample: int | Literal["all"] | None = None,
    json: bool = False,
    sheet: Path | None = Path("inspection.png"),
    backbone: str = "tabletop",
    model: ModelConfig | None = None,
    frames: FrameConfig | None = None,
    num_workers: int | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Says what is in a data set before it is prepared.

    Args:
        source: a data set in any format of docs/data.md, or the URL of a folder with a
            manifest.jsonl.
        selection: which of its videos.
        sample: how many videos are decoded and looked at, or "all"; by default at most 500, and as
            many as 20 seconds allow. Lists are counted whole.
        json: print JSON instead of a table.
        sheet: contact sheet to write, a .png; "null" writes none.
        backbone: "tabletop", a folder, or a published name, which need not be downloaded.
        model: the recipe's; how many frames a cache holds, and which are given.
        frames: at which size.
        num_workers: threads that decode; by default one per core.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.data.inspection import inspect as inspect_videos
    from aid.data.sources import list_source
    from aid.models.devices import choose_device
    from aid.models.sizes import BY_NAME
    from aid.predict import find_backbone
    from aid.video import contact_sheet, write_png

    on = str(choose_device(device))  # refuses one that is not there
    if sheet is not None:
        check_output(sheet)
        if sheet.suffix.lower() != ".png":
            raise ValueError(f"{str(sheet)!r} must end in .png. Try {sheet.stem}.png")
    model, frames = model or ModelConfig(), frames or FrameConfig()
    published = backbone.partition("+")[0].partition("@")[0]
    folder = None if published in BY_NAME else find_backbone(backbone)
    count_tokens = None if folder is None else _token_counter(folder)
    listing = list_source(source, selection)
    sizes = _sizes(folder, published)
    with step_bars() as on_step:
        report, shown = inspect_videos(
            listing, frames=frames, num_frames=model.num_frames,
            sample={"all": None, None: MOST_VIDEOS}.get(sample, sample),
            seconds=MOST_SECONDS if sample is None else None, count_tokens=count_tokens,
            max_tokens=sizes.num_text_tokens, num_threads=num_workers or os.cpu_count() or 1,
            on_step=on_step,
        )  # fmt: skip
    report["forecast"] = _forecast(report, folder, sizes, model, on, precision) | {
        "backbone": backbone
    }
    report["sheet"] = None
    if sheet is not None and shown:
        scale = max(1, 96 // shown[0][1].shape[1])
        write_png(sheet, contact_sheet(shown, scale=scale))
        report["sheet"] = str(sheet)
    if json:
        print(json_format.dumps(report, indent=1))
    else:
        print_facts(_facts(report, frames))


def join(folder: Path, names: list[str]) -> None:
    """Makes data sets that lie in one folder one: `aid data join data/tabletop train twins`.

    Args:
        folder: holds them; gets a manifest.jsonl that names the videos of all, none is copied.
        names: two or more folders in it, each with a manifest.jsonl.
    """
    from aid.data.manifest import join as join_sets

    print(f"{join_sets(folder, names):,} videos", file=sys.stderr)
    print(folder)


def _token_counter(folder: Path) -> Any:
    from aid.models.backbone import load_backbone

    tokenizer = load_backbone(folder, ("tokenizer",)).tokenizer

    def count(sentences: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(sentences, verbose=False)["input_ids"]]

    return count


def _sizes(folder: Path | None, published: str) -> Any:
    from aid.models.sizes import BY_NAME, backbone_sizes, sizes_of

    return sizes_of(BY_NAME[published]) if folder is None else backbone_sizes(folder)


def _forecast(
    report: dict[str, Any],
    folder: Path | None,
    sizes: Any,
    model: ModelConfig,
    device: str,
    precision: Precision,
) -> dict[str, Any]:
    """Bytes and seconds of a cache of all videos."""
    from aid.data.cache import cache_size
    from aid.prepare.timing import encoding_seconds

    looked, number = report["looked_at"], report["windows"]["number"]
    size = {key: looked[key] for key in ("num_frames", "height", "width")}
    tokens = report["instructions"]["tokens"]
    if tokens is None:
        tokens = report["instructions"]["sentences"] * sizes.num_text_tokens
    is_whole = number == report["num_videos"]
    firsts = report["num_scenes"] or number if is_whole else number
    room = cache_size(
        sizes, num_videos=number, num_firsts=firsts, num_tokens=tokens,
        num_given_frames=model.condition.num_given_frames, **size,
    )  # fmt: skip
    encoding = None
    if folder is not None:
        video, first = encoding_seconds(
            folder, model.condition, **size, device=device, precision=precision
        )
        encoding = number * video + firsts * first
    return {
        **size,
        "bytes_at_most": room.total,
        "bytes": asdict(room),
        "decoding_seconds": number * looked["seconds"] / looked["number"],
        "encoding_seconds": encoding,
    }


def _facts(report: dict[str, Any], frames: FrameConfig) -> list[tuple[str, str, bool]]:
    """Lines of the table: name, what is said, whether a person should see to it."""
    looked, said, many = report["looked_at"], report["instructions"], report["num_videos"]
    is_part = looked["number"] < many
    star = " *" if is_part else ""
    how = f"{looked['number']:,} looked at"
    if is_part:
        how += f", drawn {looked['drawn']}: lines with * are about those"
    across, swapped = report["across_splits"], report["suspected_bgr"]
    ids = report["repeated_ids"]
    facts = [
        ("source", f"{report['source']} ({report['format']})", False),
        ("videos", f"{many:,}; {how}", False),
        ("splits", _numbers(report["splits"]), False),
        ("cameras", _numbers(report["cameras"]), False),
        ("frames", _spread(report["lengths"], many), False),
        ("seconds", _spread(report["seconds"], many), False),
        ("windows", *_windows(report, frames)),
        ("frames a second", _pairs(report["rates"]), not report["rates"]),
        ("sizes", ", ".join(f"{w}x{h} ({n:,})" for w, h, n in report["sizes"]) or "-", False),
        ("instructions", f"{said['distinct']:,} distinct", False),
        ("without words", f"{said['empty']:,}", said["empty"] > 0),
        ("longest", _longest(said), bool(said["too_long"])),
        (f"cannot be read{star}", _named(report["corrupt"]), report["corrupt"]["number"] > 0),
        (f"stand still{star}", _named(report["still"]), report["still"]["number"] > 0),
        (f"red for blue{star}", _swapped(report), bool(swapped)),
        ("in two splits", f"{_named(across)} (bytes compared of {across['compared']})",
         across["number"] > 0),
        ("ids used twice", ", ".join(ids[:NUM_NAMED]) or "none", bool(ids)),
        ("cache", _room(report["forecast"]), False),
        ("time", _time(report["forecast"]), False),
        *(("note", note, True) for note in report["notes"]),
        ("contact sheet", report["sheet"] or "none", False),
    ]  # fmt: skip
    return facts


def _numbers(counts: dict[str, int]) -> str:
    return ", ".join(f"{name or '(unnamed)'} {number:,}" for name, number in counts.items())


def _pairs(pairs: list[tuple[float, int]]) -> str:
    if not pairs:
        return "unknown: --fps"
    some = [f"{value:g} ({number:,})" for value, number in pairs[:NUM_NAMED]]
    return ", ".join(some) + (", ..." if len(pairs) > NUM_NAMED else "")


def _spread(spread: dict[str, int | float], many: int) -> str:
    if not spread["known"]:
        return "unknown"
    of = "" if spread["known"] == many else f"; known of {spread['known']:,}"
    return f"{spread['least']:g} to {spread['most']:g}, median {spread['median']:g}{of}"


def _windows(report: dict[str, Any], frames: FrameConfig) -> tuple[str, bool]:
    """What is seen of an episode, and whether a person should see to it."""
    found, number = report["windows"], report["looked_at"]["num_frames"]
    if not found["known"]:
        return "unknown", False
    apart = f"{_range(found['apart'])} s apart (every {_range(found['own_apart'])} frames)"
    repeats = f"; {found['repeated']:.0%} of them repeat another" if found["repeated"] else ""
    seconds = _range(found["seconds"])
    if frames.rate(number) is None:
        said = f"whole episodes of {seconds} s, each as {number} frames {apart}{repeats}"
        if not found["squeezed"]:
            return said, False
        from aid.data.windows import SUGGESTED_RATE

        return (
            f"{said}; {found['squeezed']:,} episodes are squeezed. Cut windows of one rate: "
            f"--frames.fps {SUGGESTED_RATE:g} --frames.windows all"
        ), True
    lasts, each = number / frames.rate(number), _range(found["per_episode"])
    return (
        f"{found['number']:,} of {lasts:g} s, {each} of each video of {seconds} s, "
        f"showing {found['share']:.0%} of the time; frames {apart}{repeats}"
    ), found["share"] < 0.5


def _range(spread: list[int] | list[float]) -> str:
    least, most = (f"{value:.3g}" for value in spread)
    return least if least == most else f"{least} to {most}"


def _longest(said: dict[str, Any]) -> str:
    if said["longest"] is None:
        return "not counted: the backbone's tokenizer is not on this machine"
    if not said["distinct"]:
        return "-"
    cut = f"; {said['too_long']:,} are cut off" if said["too_long"] else ""
    return f"{said['longest']} of {said['max_tokens']} tokens{cut}: {said['words'][:200]}"


def _named(found: dict[str, Any]) -> str:
    """How many, and the first by name."""
    if not found["number"]:
        return "none"
    names = []
    for one in found["videos"][:NUM_NAMED]:
        if isinstance(one, str):
            names.append(one)
        elif "reason" in one:
            names.append(f"{one['id']}: {one['reason']}")
        else:
            names.append(f"{one['first']} = {one['last']} ({one['splits']})")
    more = found["number"] - len(names)
    return f"{found['number']:,}: " + "; ".join(names) + (f"; {more:,} more" if more else "")


def _swapped(report: dict[str, Any]) -> str:
    cameras = report["suspected_bgr"]
    if not cameras:
        return "not suspected"
    said = []
    for camera in cameras:
        cold, warm = (report["colours"][camera][which] for which in ("cold", "warm"))
        said.append(f"{camera or '(unnamed)'} ({cold:.0%} bluish, {warm:.0%} reddish)")
    return f"suspected, look at the sheet: {', '.join(said)}"


def _room(forecast: dict[str, Any]) -> str:
    size = f"{forecast['num_frames']} frames of {forecast['width']}x{forecast['height']}"
    room = f"at most {forecast['bytes_at_most'] / GB:.2f} GB"
    return f"{room} ({size}, backbone {forecast['backbone']})"


def _time(forecast: dict[str, Any]) -> str:
    decoding = f"decoding {_minutes(forecast['decoding_seconds'])}"
    if forecast["encoding_seconds"] is None:
        return f"{decoding}; encoding not measured: the backbone is not on this machine"
    both = forecast["decoding_seconds"] + forecast["encoding_seconds"]
    encoding = f"encoding {_minutes(forecast['encoding_seconds'])}"
    return f"about {_minutes(both)} on this machine ({decoding}, {encoding})"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
