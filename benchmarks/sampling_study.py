"""Score by number of UNet evaluations: steps, guidance interval, s_V, s_T and solver.

COMMAND  python benchmarks/sampling_study.py --data data/tabletop/val --out runs/sampling_study
HARDWARE CPU cores

`--levels 4,0.02 4,0.3` compares only the number of noise levels and the last one. Each setting
samples the same videos with the same seeds by the function of `aid evaluate`, so a killed study
resumes. Writes study.json, study.md and study.svg. Cost is counted, not estimated: UNet
evaluations of one video, where one evaluation of three conditions counts as three. Needs
matplotlib (extra `report`).
"""

import argparse
import json
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

from aid.config import Precision, SamplerConfig
from aid.data.manifest import read_manifest
from aid.diffusion.edm import karras_sigmas
from aid.evaluate import MODES, evaluate
from aid.metrics.protocol import choose_protocol
from aid.predict import Predictor
from aid.tabletop.judge import TabletopJudge
from aid.tabletop.r3d import TabletopR3D
from aid.video import whole_file

ENDLESS = float("inf")


def settings(base: SamplerConfig, arguments: argparse.Namespace) -> list[SamplerConfig]:
    """Solver and steps on a grid; interval, s_V and s_T one at a time around the model's own.

    Guided at all noise levels unless an interval is given, whatever the model uses. With
    `levels`, the model's own settings at these and nothing else.
    """
    if arguments.levels:
        made = [replace(base, num_steps=n, sigma_min=low) for n, low in arguments.levels]
        return list(dict.fromkeys(made))
    base = replace(base, guidance_interval=(0.0, ENDLESS))
    made = [
        replace(base, solver=solver, num_steps=steps)
        for solver, steps in product(("euler", "dpmpp_2m"), arguments.steps)
    ]
    centre = replace(base, num_steps=sorted(arguments.steps)[len(arguments.steps) // 2])
    for low, high in arguments.intervals:
        made.append(replace(centre, guidance_interval=(low, high)))
    made += [replace(centre, image_guidance=value) for value in arguments.image_guidance]
    made += [replace(centre, text_guidance=value) for value in arguments.text_guidance]
    return list(dict.fromkeys(made))


def evaluations(sampler: SamplerConfig) -> int:
    """UNet evaluations of one video: every condition that has a weight, at every step."""
    weights = (1 - sampler.image_guidance, sampler.image_guidance - sampler.text_guidance)
    passes = 1 + sum(weight != 0 for weight in weights)
    sigmas = karras_sigmas(
        sampler.num_steps, sampler.sigma_min, sampler.sigma_max, sampler.rho
    ).tolist()[:-1]
    low, high = sampler.guidance_interval
    return sum(passes if low <= sigma <= high else 1 for sigma in sigmas)


def measured(
    predictor: Predictor, sampler: SamplerConfig, arguments: argparse.Namespace, out: Path
) -> dict[str, Any]:
    """One line of the study; read from its score card if there is one."""
    report = out / "report.json"
    if not report.is_file():
        rows = read_manifest(arguments.data)[: arguments.limit]

        def predict(given: list, instructions: list, seeds: list, fps: list) -> list:
            return predictor.predict_many(given, instructions, seeds, fps=fps, sampler=sampler)

        evaluate(
            rows, arguments.data, predict, out=out, title=out.name, judge=TabletopJudge(),
            made_with={"sampler": json.loads(json.dumps(asdict(sampler)))},
            protocol=choose_protocol("strict", rows[0].num_frames, 1),
            extractor=TabletopR3D(arguments.weights),
        )  # fmt: skip
    card = json.loads(report.read_text(encoding="utf-8"))
    like = card["comparison"]["likeness"][MODES["true"]]
    return {
        "sampler": asdict(sampler),
        "evaluations": evaluations(sampler),
        "frechet": like["frechet"],
        "kvd": like["kvd"],
        "accuracy": card["scores"][MODES["true"]]["accuracy"],
        "num_videos": like["num_videos"],
    }


def main() -> None:
    """Measures all settings, and writes after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="tabletop")
    parser.add_argument("--backbone")
    parser.add_argument("--weights", type=Path, help="folder of the table-top's extractor")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 6, 8, 12, 18, 25])
    parser.add_argument("--image_guidance", type=float, nargs="*", default=[1.0, 1.5, 2.0])
    parser.add_argument("--text_guidance", type=float, nargs="*", default=[1.0, 2.0, 4.0, 7.5])
    parser.add_argument(
        "--intervals", type=lambda text: tuple(map(float, text.split(","))), nargs="*",
        default=[(0.0, ENDLESS), (0.3, ENDLESS), (0.3, 10.0), (1.0, 30.0)], help="such as 0.3,10",
    )  # fmt: skip
    parser.add_argument(
        "--levels", type=levels, nargs="+",
        help="instead of all that: steps and lowest sigma but 0, such as 4,0.02 4,0.3",
    )  # fmt: skip
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    arguments = parser.parse_args()
    predictor = Predictor.from_pretrained(
        arguments.model, arguments.backbone, precision=arguments.precision
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    chosen, lines = settings(predictor.sampler, arguments), []
    for number, sampler in enumerate(chosen, 1):
        name = setting_name(sampler, with_levels=bool(arguments.levels))
        lines.append(measured(predictor, sampler, arguments, arguments.out / name))
        print(f"{number} of {len(chosen)}: {lines[-1]['evaluations']} evaluations, {name}: "
              f"Fréchet {lines[-1]['frechet']['value']:.4g}", flush=True)  # fmt: skip
        write(arguments.out, lines)


def levels(text: str) -> tuple[int, float]:
    """Steps and the lowest sigma but 0, from `4,0.3`."""
    steps, lowest = text.split(",")
    return int(steps), float(lowest)


def setting_name(sampler: SamplerConfig, with_levels: bool) -> str:
    """A folder's name that says what the setting is."""
    low, high = sampler.guidance_interval
    lowest = f"-lowest{sampler.sigma_min:g}" if with_levels else ""
    guided = "" if (low, high) == (0.0, ENDLESS) else f"-from{low:g}to{high:g}"
    return (
        f"{sampler.solver}-{sampler.num_steps}-sv{sampler.image_guidance:g}"
        f"-st{sampler.text_guidance:g}{guided}{lowest}"
    )


def write(out: Path, lines: list[dict[str, Any]]) -> None:
    """The study so far as JSON, as a table and as a picture."""
    columns = ["solver", "steps", "sigmas", "guided at", "s_V", "s_T", "UNet evaluations"]
    columns += ["Fréchet", "95 %", "KVD", "accuracy", "videos"]
    table = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for line in sorted(lines, key=lambda one: one["evaluations"]):
        s, distance = line["sampler"], line["frechet"]
        cells = [s["solver"], s["num_steps"], f"{s['sigma_max']:g} to {s['sigma_min']:g}"]
        cells.append("{:g} to {:g}".format(*s["guidance_interval"]))
        cells += [s["image_guidance"], s["text_guidance"], line["evaluations"]]
        cells += [f"{distance['value']:.4g}", f"{distance['low']:.4g} to {distance['high']:.4g}"]
        cells += [f"{line['kvd']['value']:.3g}", f"{100 * line['accuracy']:.1f} %"]
        table.append(f"| {' | '.join(map(str, [*cells, line['num_videos']]))} |")
    for name, text in {
        "study.json": json.dumps(lines, indent=1) + "\n",
        "study.md": "\n".join(table) + "\n",
    }.items():
        with whole_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axis = figure.subplots()
    for solver, mark in (("euler", "o-"), ("dpmpp_2m", "s-")):
        own = [one for one in lines if one["sampler"]["solver"] == solver]
        first = own[0]["sampler"] if own else {}
        fixed = ("guidance_interval", "image_guidance", "text_guidance", "sigma_min")
        curve = [one for one in own if all(one["sampler"][key] == first[key] for key in fixed)]
        points = sorted((one["evaluations"], one["frechet"]["value"]) for one in curve)
        axis.plot([p[0] for p in points], [p[1] for p in points], mark, label=f"{solver}, steps")
        others = [one for one in own if one not in curve]
        for one in others:
            axis.plot(one["evaluations"], one["frechet"]["value"], "x", color="grey")
    axis.set_xlabel("UNet evaluations of a video (x: other settings)")
    axis.set_ylabel("Fréchet distance (tabletop-r3d)")
    axis.set_xscale("log")
    axis.legend()
    with whole_file(out / "study.svg") as temporary:
        figure.savefig(temporary, format="svg")


if __name__ == "__main__":
    main()
