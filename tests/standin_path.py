"""The path of a user on the stand-in device, from videos to a score, in a process of its own.

    python standin_path.py FOLDER DATA BACKBONE MODEL [STAGE ...]

Every stage is tried, whatever became of the others, and prints one line of JSON: its name, what
went wrong (or null), and what test_standin.py looks at. Videos go into FOLDER as STAGE.safetensors.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import standin
import torch
from PIL import Image
from safetensors.numpy import save_file
from tabletop.pretrain.conftest import TINY, write_play

import aid.cli
from aid.ablate.methods import RIVALS, find_method, make_method
from aid.config import to_json
from aid.rivals.method import Sizes, Videos
from aid.video import read_video, write_mp4

SAID, STATES = "push the red ball left", ["the red ball", "ball left"]
RECIPE = """
model:
  num_frames: 3
  dqformer: {queries_per_frame: 2, num_heads: 2}
  adapter: {long_term_heads: 2}
  lora: {rank: 2}
train: {steps: 2, batch_size: 2, warmup_steps: 1, log_every: 1, check_every: 2, save_every: 2}
sampler: {num_steps: 2, sigma_max: 20.0, text_guidance: 2.0}
"""


class Journey:
    """The stages; each returns what its test looks at."""

    def __init__(self, room: Path, data: Path, backbone: Path, model: Path) -> None:
        self.room, self.data, self.backbone, self.model = room, data, backbone, model
        self.recipe, self.frame = room / "recipe.yaml", room / "frame.png"
        self.recipe.write_text(RECIPE)
        self.pixels = read_video(data / "videos/0.mp4")[0]
        Image.fromarray(self.pixels).save(self.frame)

    def aid(self, command: str, *flags: object) -> None:
        """One command on the device."""
        flags = [*flags, "--backbone", self.backbone, "--device", standin.NAME, "--debug"]
        code = aid.cli.main([command, *map(str, flags)])
        assert code == 0, f"aid {command} ended with {code}"

    def keep(self, stage: str, video: np.ndarray) -> None:
        """Writes a video for the test; safetensors takes an array's bytes in memory's order."""
        save_file({"video": np.ascontiguousarray(video)}, self.room / f"{stage}.safetensors")

    def device(self) -> dict[str, Any]:
        """What the device refuses."""
        x, layer = torch.ones(2, 3, device=standin.NAME), torch.nn.Linear(3, 3).to(standin.NAME)
        wrong: dict[str, Callable[[], object]] = {
            "a sum with a CPU tensor": lambda: x + torch.ones(3),
            "a layer that reads a CPU tensor": lambda: layer(torch.ones(2, 3)),
            "a CPU layer that reads its tensor": lambda: torch.nn.Linear(3, 3)(x),
            "tensors of both in a list": lambda: torch.cat([x, torch.ones(1, 3)]),
            "numpy()": lambda: x.numpy(),
            "np.asarray": lambda: np.asarray(x),
            "a CPU generator": lambda: torch.randn(
                2, generator=torch.Generator(), device=standin.NAME
            ),
        }
        taken = []
        for name, call in wrong.items():
            try:
                call()
                taken.append(name)
            except (RuntimeError, TypeError):
                pass
        layer(x * torch.tensor(2.0)).sum().backward()
        made = torch.arange(4, device=standin.NAME), torch.eye(2, device=standin.NAME)
        return {
            "taken": taken,
            "gradient": str(layer.weight.grad.device),
            "back": x.cpu().tolist(),
            "shapes": [list(one.shape) for one in made],
        }

    def prepare(self) -> dict[str, Any]:
        self.aid("prepare", "--config", self.recipe, "--data", self.data,
                 "--out", self.room / "cache")  # fmt: skip
        return {}

    def train(self) -> dict[str, Any]:
        cache, out = self.room / "cache", self.room / "run"
        self.aid("train", "--config", self.recipe, "--cache", cache, "--held_out", cache,
                 "--out", out)  # fmt: skip
        lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
        return {
            "device": json.loads((out / "run.json").read_text())["device"],
            "losses": [line["loss"] for line in lines if "loss" in line],
            "sheet": (out / "sheet-000002.png").is_file(),
        }

    def redraw(self) -> dict[str, Any]:
        """A training step in which the VAE encodes the given frames on the device."""
        self.aid("train", "--config", self.recipe, "--cache", self.room / "cache",
                 "--train.redraw_noise_aug", "true", "--train.steps", 1,
                 "--out", self.room / "redrawn")  # fmt: skip
        return {}

    def predict(self) -> dict[str, Any]:
        out = self.room / "predicted.gif"
        self.aid("predict", self.frame, SAID, "--states", json.dumps(STATES),
                 "--model", self.model, "--out", out)  # fmt: skip
        return {"is_there": out.is_file()}

    def evaluate(self) -> dict[str, Any]:
        out = self.room / "card"
        self.aid("evaluate", "--data", self.data, "--model", self.model, "--limit", 2,
                 "--extractor", "tabletop-r3d", "--out", out)  # fmt: skip
        return {"is_there": (out / "report.json").is_file()}

    def score(self) -> dict[str, Any]:
        for name, shift in (("real", 0), ("made", 9)):
            (self.room / name).mkdir()
            for number in range(10):  # enough for the extractor's own test
                video = read_video(self.data / f"videos/{number % 4}.mp4")
                video = np.clip(video, 0, 200) + shift + 4 * number
                write_mp4(self.room / name / f"{number}.mp4", video, fps=4)
        self.aid("score", self.room / "real", self.room / "made", "--num_frames", 5,
                 "--resamples", 2, "--extractor", "clip-frames", "--out", self.room / "score",
                 )  # fmt: skip
        return {"is_there": (self.room / "score/score.json").is_file()}

    def pipeline(self) -> dict[str, Any]:
        made = aid.AIDPipeline.from_pretrained(self.model, self.backbone)
        made.set_progress_bar_config(disable=True)
        made.to(standin.NAME)
        videos = made(self.pixels, SAID, states=[STATES], output_type="np").frames
        self.keep("pipeline", videos[0])
        trained = {p.device.type for p in made.predictor.denoiser.trained.parameters()}
        return {"trained": sorted(trained)}

    def studio(self) -> dict[str, Any]:
        from aid.web.limits import Limits, Settings
        from aid.web.studio import Model, Result, Studio, VideoRequest

        model = Model.load(str(self.model), str(self.backbone), standin.NAME)
        settings = Settings(num_steps=2, image_guidance=1.5, text_guidance=2.0, seed=0)
        asked = VideoRequest(model=model, instruction=SAID, states=STATES, settings=settings)
        *_, drawn = Studio([model], Limits()).draw(("here", "0"), self.frame, [asked])
        assert isinstance(drawn, Result)
        self.keep("studio", drawn.predictions[0].frames)
        return {}

    def compare(self) -> dict[str, Any]:
        """Another method, trained, drawn and scored by the commands."""
        method = f"{Path(__file__).with_name('own_methods.py')}:Worded"
        self.aid("train", "--config", self.recipe, "--cache", self.room / "cache",
                 "--method", method, "--out", self.room / "method")  # fmt: skip
        self.aid("evaluate", "--data", self.data, "--method", method, "--limit", 2,
                 "--model", self.room / "method", "--out", self.room / "method_card")  # fmt: skip
        return {"is_there": (self.room / "method_card/report.json").is_file()}

    def rivals(self) -> dict[str, Any]:
        """Losses with gradients, and a video, of every rival."""
        drawn = {}
        for name in RIVALS:
            is_pixels = find_method(name).space == "pixels"
            channels, side = (3, 64) if is_pixels else (4, 16)
            sizes = Sizes(
                num_frames=8, channels=channels, height=side, width=side, text_dim=32, text_length=5
            )
            method, generator = make_method(name, sizes, seed=0), torch.Generator()
            method.network.to(standin.NAME)
            batch = Videos(
                videos=torch.zeros(1, 8, channels, side, side).to(standin.NAME),
                text=torch.ones(1, 5, 32).to(standin.NAME),
                text_mask=torch.ones(1, 5, dtype=torch.bool).to(standin.NAME),
            )
            for stage in method.stages:
                method.loss(stage, batch, generator).mean().backward()
            video = method.draw(
                batch.videos[:, 0], batch.text, batch.text_mask, generator, num_steps=1
            )
            drawn[name] = [str(video.device), *video.shape]
        return {"drawn": drawn}

    def pretrain(self) -> dict[str, Any]:
        """The backbone's four parts."""
        play, out = self.room / "play", self.room / "backbone"
        write_play(play)
        recipe = self.room / "backbone.yaml"
        recipe.write_text(json.dumps({"pretrain": to_json(TINY)}))
        flags = ["--config", recipe, "--data", play, "--out", out]
        flags += ["--device", standin.NAME, "--debug"]
        assert aid.cli.main(["tabletop", "pretrain", *map(str, flags)]) == 0
        return {"parts": sorted(path.name for path in out.iterdir() if path.is_dir())}


STAGES = ("device", "prepare", "train", "redraw", "predict", "evaluate", "score")
STAGES += ("pipeline", "studio", "compare", "rivals", "pretrain")


def main(room: str, data: str, backbone: str, model: str, *stages: str) -> None:
    """Runs the stages; all of them by default."""
    torch.set_num_threads(1)
    standin.register()
    journey = Journey(Path(room), Path(data), Path(backbone), Path(model))
    for stage in stages or STAGES:
        error, facts = None, {}
        try:
            facts = getattr(journey, stage)()
        except (Exception, SystemExit):
            error = traceback.format_exc()[-3000:]
        print("STAGE", json.dumps({"stage": stage, "error": error, **facts}), flush=True)
    # torch's thread for the device's gradients has no end that a backend in Python could reach.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
