"""AID at full size on one GPU: equality with the stock pipeline, and speed. Writes one JSON file.

COMMAND  python benchmarks/gpu.py --out gpu.json          (at most 8 minutes, see --budget)
         python benchmarks/gpu.py --out gpu.json --device cpu --tiny   (the same code at toy size)
HARDWARE one GPU with 24 GB or more, 10 GB of disk for the backbone
TIME     not yet run on a GPU

The backbone has Stable Video Diffusion's published sizes and random weights: time, memory and
equality do not depend on the values of weights. The parts, in this order:

parity      the bare backbone sampled by `Predictor` and by `StableVideoDiffusionPipeline`, with the
            same weights, frame, seed and guidance, in float32 and in `--precision`: the largest
            difference of a pixel (0 to 255)
prepare     `aid.prepare.prepare` on video files, and a plain loop that decodes one video after
            another and calls the same encoders
train       steps of `aid.train.train` from that cache, and the method of public scripts: a plain
            loop with the same model, trained parts and optimizer, without a cache, which in every
            step encodes the video and its noised first frame with the VAE, the frame with CLIP and
            the sentences with the text encoder. It keeps no averaged weights
predict     a whole prediction and its guided steps (three evaluations per step) by `Predictor`, and
            the stock pipeline (two evaluations per step), from image to frames

Parts for which no time is left are named in the file and left out.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image
from torch.optim.optimizer import register_optimizer_step_post_hook

from aid import __version__
from aid.conditioning.encoders import encode_sentences, join_states, state_sentences
from aid.conditioning.states import NoStateWriter
from aid.config import ConditionConfig, ModelConfig, Precision, SamplerConfig, TrainConfig
from aid.data.manifest import read_manifest, write_manifest
from aid.diffusion.edm import sample_sigmas
from aid.models.backbone import NETWORKS, backbone_hash, empty_network, load_backbone
from aid.models.checkpoint import CheckpointInfo, save_checkpoint
from aid.models.conditions import Conditions, TextTokens
from aid.models.denoiser import Denoiser
from aid.models.devices import choose_device, dtype_of
from aid.models.sizes import SVD, read_configs
from aid.optim import make_accelerator
from aid.predict import Predictor, find_backbone
from aid.predict.sampling import FrameEncodings
from aid.prepare import prepare
from aid.tabletop.pretrain.parts import build_feature_extractor, build_scheduler, save_part
from aid.train import train
from aid.types import VideoRow
from aid.video import read_video, write_mp4

ROUNDING = 2
"""Largest difference of a pixel, of 255, that counts as equal in float32."""
SAID, STATES = "push the red block to the left", ["the red block", "the block has moved"]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured, where."""

    folder: Path
    device: torch.device
    precision: Precision
    side: int
    """Height and width in pixels."""
    frames: int
    videos: int
    """For `prepare`."""
    steps: int
    """Training steps; two more come before, to warm up."""
    sampling_steps: int
    configs: dict[str, dict[str, Any]]

    @property
    def backbone(self) -> Path:
        """Its folder."""
        return self.folder / "backbone"

    @property
    def data(self) -> Path:
        """Folder of the videos."""
        return self.folder / "data"

    @property
    def frame(self) -> np.ndarray:
        """A given frame, uint8 `H W 3`."""
        return read_video(self.data / "0.mp4")[0]

    def model(self) -> ModelConfig:
        """AID as the paper has it."""
        return ModelConfig(num_frames=self.frames)

    def wait(self) -> None:
        """Waits until the device has finished all queued work."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def clock(self) -> float:
        """Seconds, once the device is done."""
        self.wait()
        return time.perf_counter()

    @contextmanager
    def measured(self, found: dict[str, Any]) -> Iterator[None]:
        """Notes seconds and the device's largest memory in `found`."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        begun = self.clock()
        yield
        found["seconds"] = round(self.clock() - begun, 3)
        if self.device.type == "cuda":
            found["peak_gb"] = round(torch.cuda.max_memory_allocated(self.device) / 1e9, 2)


def build(bench: Bench) -> dict[str, Any]:
    """Writes a backbone of random weights in bfloat16, and videos; returns parameters by part."""
    counts = {}
    for name in NETWORKS:
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        with bench.device:
            network = empty_network(name, bench.configs[name])
        torch.set_default_dtype(torch.float32)
        counts[name] = sum(p.numel() for p in network.parameters())
        save_part(bench.backbone, name, network.cpu(), half=False)
        del network
    save_part(bench.backbone, "scheduler", build_scheduler(sigma_min=0.002, sigma_max=700.0))
    save_part(bench.backbone, "feature_extractor", build_feature_extractor())
    # Which words a tokenizer knows changes neither time nor memory; OpenAI's is not needed.
    shutil.copytree(find_backbone("tabletop") / "tokenizer", bench.backbone / "tokenizer")
    rng, rows = np.random.default_rng(0), []
    bench.data.mkdir()
    for number in range(bench.videos):
        coarse = rng.integers(40, 216, (8, 8, 3)).astype(np.uint8)
        still = np.asarray(Image.fromarray(coarse).resize((bench.side, bench.side)))
        video = np.stack([np.roll(still, 2 * f, axis=1) for f in range(bench.frames)])
        write_mp4(bench.data / f"{number}.mp4", video, fps=7.0)
        rows.append(
            VideoRow(
                id=str(number), video=f"{number}.mp4", instruction=f"{SAID} {number}",
                num_frames=bench.frames, fps=7.0, height=bench.side, width=bench.side,
            )
        )  # fmt: skip
    write_manifest(bench.data, rows)
    return {"parameters": counts}


def stock_pipeline(bench: Bench, precision: str) -> StableVideoDiffusionPipeline:
    """The stock pipeline on the device."""
    made = StableVideoDiffusionPipeline.from_pretrained(
        bench.backbone, torch_dtype=dtype_of(precision)
    )
    made.set_progress_bar_config(disable=True)
    return made.to(bench.device)


def parity(bench: Bench) -> dict[str, Any]:
    """The largest difference of a pixel between the stock pipeline's video and ours."""
    found = {}
    for precision in dict.fromkeys(("float32", bench.precision)):
        ours = Predictor.backbone_only(
            bench.backbone, str(bench.device), precision=precision, keep_given_frames=False,
            num_frames=bench.frames, height=bench.side, width=bench.side,
        )  # fmt: skip
        ours.backbone.decode_chunk = 8
        video = ours(bench.frame, None, seed=5, num_steps=3, image_guidance=2.0).frames
        del ours
        stock = stock_pipeline(bench, precision)(
            Image.fromarray(bench.frame), height=bench.side, width=bench.side,
            num_frames=bench.frames, num_inference_steps=3, min_guidance_scale=2.0,
            max_guidance_scale=2.0, fps=7, output_type="np", decode_chunk_size=8,
            generator=torch.Generator().manual_seed(5),
        ).frames[0]  # fmt: skip
        apart = np.abs(video.astype(float) - (stock * 255).round())
        found[precision] = {
            "largest_difference": float(apart.max()),
            "mean_difference": round(float(apart.mean()), 4),
            "standard_deviation": round(float((stock * 255).std()), 2),
        }
    found["is_equal"] = found["float32"]["largest_difference"] <= ROUNDING
    return found


def measure_prepare(bench: Bench) -> dict[str, Any]:
    """Seconds of a cache, and of a plain loop of the same encoders on the same files."""
    found: dict[str, Any] = {"videos": bench.videos, "aid": {}, "plain loop": {}}
    with bench.measured(found["aid"]):
        prepare(
            bench.data, bench.folder / "cache", bench.backbone, condition=ConditionConfig(),
            num_frames=bench.frames, states=NoStateWriter(), device=str(bench.device),
            precision=bench.precision,
        )  # fmt: skip
    with bench.measured(found["plain loop"]):
        parts = load_encoders(bench)
        for row in read_manifest(bench.data):
            encode(parts, frames_of(bench, row), row.instruction)
    return found


def load_encoders(bench: Bench) -> Any:
    """Everything but the UNet."""
    names = ("vae", "image_encoder", "text_encoder", "tokenizer")
    return load_backbone(bench.backbone, names, dtype_of(bench.precision)).to(bench.device)


def frames_of(bench: Bench, row: VideoRow) -> torch.Tensor:
    """The pixels of one video on the device, `1 f 3 H W` in [-1, 1]."""
    pixels = torch.from_numpy(read_video(bench.data / row.video)).to(bench.device)
    return (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)[None]


def encode(parts: Any, frames: torch.Tensor, instruction: str) -> tuple[torch.Tensor, Conditions]:
    """What a training step reads of one video: latents and conditions, made anew."""
    strength = (-3.0 + 0.5 * torch.randn(1)).exp().to(frames.device)
    noised = frames[:, :1] + strength * torch.randn_like(frames[:, :1])
    embedding, tokens = parts.encode_image(frames[:, 0])
    sentences = [instruction, *state_sentences(STATES)]
    words, mask = encode_sentences(parts.tokenizer, parts.text_encoder, sentences)
    state_tokens, state_mask = join_states(words[1:], mask[1:])
    one = torch.ones(1, device=frames.device)
    conditions = Conditions(
        condition_latents=parts.encode_condition(noised, frames.shape[1], "grey_pixels"),
        image_embedding=embedding, image_tokens=tokens, fps=7 * one, motion_bucket_id=127 * one,
        noise_aug_strength=strength,
        text=TextTokens(
            instruction_tokens=words[:1], instruction_mask=mask[:1],
            state_tokens=state_tokens[None], state_mask=state_mask[None],
        ),
    )  # fmt: skip
    return parts.encode(frames), conditions


def measure_train(bench: Bench) -> dict[str, Any]:
    """Seconds a step: AID from its cache, and a loop that encodes in every step."""
    loop = TrainConfig(
        steps=bench.steps + 2, batch_size=1, use_gradient_checkpointing=True, warmup_steps=1,
        log_every=10**6, check_every=10**6, save_every=10**6,
    )  # fmt: skip
    found: dict[str, Any] = {"aid": {}, "encoding every step": {}}
    ticks: list[float] = []
    note = register_optimizer_step_post_hook(lambda *_: ticks.append(bench.clock()))
    with bench.measured(found["aid"]):
        train(
            bench.folder / "cache", bench.folder / "run", bench.backbone, model=bench.model(),
            train=loop, sampler=SamplerConfig(), device=str(bench.device),
            precision=bench.precision,
        )  # fmt: skip
    note.remove()
    found["aid"]["step_seconds"] = median(ticks)
    with bench.measured(found["encoding every step"]):
        seconds = encoding_steps(bench, loop)
    found["encoding every step"]["step_seconds"] = seconds
    return found


def encoding_steps(bench: Bench, loop: TrainConfig) -> float:
    """The public scripts' way, with AID's model: seconds of a step in the median."""
    dtype = dtype_of(bench.precision)
    parts = load_encoders(bench)
    unet = load_backbone(bench.backbone, ("unet",), dtype).part("unet")
    denoiser = Denoiser(unet, parts.text_dim, parts.image_dim, bench.model()).train()
    denoiser.enable_gradient_checkpointing()
    denoiser.to(bench.device)
    accelerator = make_accelerator(str(bench.device), bench.precision)
    parameters = list(denoiser.trained.parameters())
    optimizer = accelerator.prepare(
        torch.optim.AdamW(parameters, lr=loop.learning_rate, weight_decay=loop.weight_decay)
    )
    rows, ticks = read_manifest(bench.data), []
    for step in range(loop.steps):
        row = rows[step % len(rows)]
        latents, conditions = encode(parts, frames_of(bench, row), row.instruction)
        sigma = sample_sigmas(1, loop.noise, torch.Generator().manual_seed(step)).to(bench.device)
        with accelerator.autocast():
            loss = denoiser.loss(latents, torch.randn_like(latents), sigma, conditions).mean()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, loop.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        ticks.append(bench.clock())
    return median(ticks)


def median(ticks: list[float]) -> float:
    """Seconds between the ticks, without the first two, which warm up."""
    return round(statistics.median(b - a for a, b in pairwise(ticks[1:])), 4)


def measure_predict(bench: Bench) -> dict[str, Any]:
    """A whole prediction and a guided step of it, AID's and the stock pipeline's."""
    parts = load_backbone(bench.backbone, ("unet", "image_encoder", "text_encoder"))
    sampler = SamplerConfig(num_steps=bench.sampling_steps)
    denoiser = Denoiser(parts.part("unet"), parts.text_dim, parts.image_dim, bench.model())
    info = CheckpointInfo(
        model=bench.model(), sampler=sampler, text_dim=parts.text_dim, image_dim=parts.image_dim,
        backbone_hash=backbone_hash(bench.backbone), backbone_name="random", state_writer="none",
        data_fingerprint="none", step=0, height=bench.side, width=bench.side, fps=7.0,
    )  # fmt: skip
    save_checkpoint(bench.folder / "checkpoint", denoiser, info)
    del parts, denoiser
    return {"aid": aid_runs(bench), "stock": stock_runs(bench)}


def aid_runs(bench: Bench) -> dict[str, Any]:
    """AID's prediction, from the picture to frames."""
    ticks: list[float] = []
    predictor = Predictor.from_pretrained(
        bench.folder / "checkpoint", bench.backbone, str(bench.device), precision=bench.precision
    )
    predictor.backbone.decode_chunk = 8

    def predict() -> None:
        predictor.encodings = FrameEncodings()  # so that the frame is encoded again
        predictor(bench.frame, SAID, states=STATES, on_step=lambda *_: ticks.append(bench.clock()))

    return {"predictions_a_step": 3, **timed_run(bench, predict, ticks)}


def stock_runs(bench: Bench) -> dict[str, Any]:
    """The stock pipeline's, likewise."""
    ticks: list[float] = []
    pipeline = stock_pipeline(bench, bench.precision)

    def note(pipeline: Any, step: int, level: Any, kept: dict) -> dict:
        ticks.append(bench.clock())
        return kept

    def predict() -> None:
        pipeline(
            Image.fromarray(bench.frame), height=bench.side, width=bench.side,
            num_frames=bench.frames, num_inference_steps=bench.sampling_steps, fps=7,
            output_type="np", decode_chunk_size=8, callback_on_step_end=note,
        )  # fmt: skip

    return {"predictions_a_step": 2, **timed_run(bench, predict, ticks)}


def timed_run(bench: Bench, run: Callable[[], None], ticks: list[float]) -> dict[str, Any]:
    """The second of two runs; the first warms up."""
    found: dict[str, Any] = {}
    for _ in range(2):
        ticks.clear()
        with bench.measured(found):
            run()
    return {**found, "step_seconds": median(ticks)}


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "build": build,
    "parity": parity,
    "prepare": measure_prepare,
    "train": measure_train,
    "predict": measure_predict,
}


def run(bench: Bench, out: Path, budget: float) -> dict[str, Any]:
    """Runs the parts until `budget` seconds are over; writes the file after each."""
    begun, name = time.monotonic(), "cpu"
    if bench.device.type == "cuda":
        name = torch.cuda.get_device_name(bench.device)
    figures: dict[str, Any] = {
        "device": f"{bench.device}, {name}", "torch": torch.__version__, "aid": __version__,
        "precision": bench.precision, "frames": bench.frames, "side": bench.side,
    }  # fmt: skip
    for name, part in PARTS.items():
        if (spent := time.monotonic() - begun) > budget:
            figures[name] = {"left_out": f"{spent:.0f} s of {budget:.0f} s were spent"}
            continue
        found = part(bench)
        took = round(time.monotonic() - begun - spent, 1)
        figures[name] = {**found, "all_seconds": took}
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"{name:<8} {took:6.1f} s  {json.dumps(found)}", flush=True)
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
    out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the figures as JSON")
    parser.add_argument("--device", help="by default an accelerator, else the CPU")
    parser.add_argument("--precision", choices=get_args(Precision), default="bfloat16")
    parser.add_argument("--tiny", action="store_true", help="the embedded backbone's sizes")
    parser.add_argument("--budget", type=float, default=400, help="no part begins after so many s")
    parser.add_argument("--folder", type=Path, help="folder for the backbone; by default a new one")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    bench = Bench(
        folder=Path(), device=device, precision=options.precision, side=256, frames=16, videos=16,
        steps=8, sampling_steps=25, configs=SVD,
    )  # fmt: skip
    if options.tiny:
        embedded = read_configs(find_backbone("tabletop"))
        bench = replace(
            bench, side=64, frames=3, videos=2, steps=2, sampling_steps=3, configs=embedded
        )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        return run(replace(bench, folder=Path(folder)), options.out, options.budget)


if __name__ == "__main__":
    if not main()["parity"].get("is_equal", True):
        sys.exit("the bare backbone does not draw what the stock pipeline draws: see parity")
