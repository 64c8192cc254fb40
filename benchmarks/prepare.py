"""`aid prepare` and a plain loop of the encoders: time, memory, and how long encoders wait.

COMMAND  python benchmarks/prepare.py --size full --folder build/svd --videos 2
         python benchmarks/prepare.py --size tiny --folder build/tiny --videos 64
         (on a GPU: --device cuda --precision float16 --videos 512 --batch_size 64)
HARDWARE full size: 8 GB of memory, 6 GB of disk for the backbone
TIME     docs/performance.md

The backbone has random weights, which change neither time nor memory; it is built if `--folder`
does not hold it. The loop decodes a video, encodes it, the noised first frame, the image and the
instruction, saves all, and takes the next. `aid prepare` makes four noised versions of each
distinct first frame instead of one, and writes what resuming needs. Each runs in a process of its
own, for its own peak memory (largest resident set; on CUDA also torch's memory on the device).
Loading the encoders is not counted.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from data_made import NUM_FRAMES, make_videos
from full_size.weights import CONFIGS, SIDES, build
from safetensors.torch import save_file

from aid.conditioning.encoders import encode_sentences
from aid.conditioning.states import choose_state_writer
from aid.config import ConditionConfig, FrameConfig
from aid.data.frames import floats, read_frames
from aid.data.manifest import read_manifest
from aid.models.backbone import load_backbone
from aid.models.devices import choose_device, dtype_of
from aid.prepare import prepare

PARTS = ("vae", "image_encoder", "text_encoder", "tokenizer")


def loop(options: argparse.Namespace, out: Path) -> dict:
    """Seconds of the plain loop."""
    device = choose_device(options.device)
    parts = load_backbone(options.folder, PARTS, dtype_of(options.precision)).to(device)
    out.mkdir()
    start = time.monotonic()
    for row in read_manifest(options.data):
        frames = read_frames(
            options.data / row.video, row, FrameConfig(), NUM_FRAMES, row.height, row.width
        )
        video = floats(frames.pixels)[None].to(device)
        first = video[:, :1]
        noised = first + 0.05 * torch.randn_like(first)
        embedding, image = parts.encode_image(first[:, 0])
        tokens, _ = encode_sentences(parts.tokenizer, parts.text_encoder, [row.instruction])
        made = {
            "latents": parts.encode(video, options.batch_size),
            "condition": parts.encode_condition(noised, 1, "zero_latents", options.batch_size),
            "embedding": embedding,
            "image": image,
            "text": tokens,
        }
        half = {name: tensor.half().cpu().contiguous() for name, tensor in made.items()}
        save_file(half, out / f"{row.id}.safetensors")
    return {"seconds": time.monotonic() - start}


def ours(options: argparse.Namespace, out: Path) -> dict:
    """Seconds of `prepare` without loading the encoders, and how long they waited."""
    loaded, load = 0.0, load_backbone

    def timed(*arguments: object) -> object:
        nonlocal loaded
        start = time.monotonic()
        made = load(*arguments)
        loaded += time.monotonic() - start
        return made

    from aid.prepare import encoding

    encoding.load_backbone = timed
    start = time.monotonic()
    result = prepare(
        options.data, out, options.folder, condition=ConditionConfig(), num_frames=NUM_FRAMES,
        states=choose_state_writer("none"), device=options.device, precision=options.precision,
        batch_size=options.batch_size, num_workers=options.num_workers,
    )  # fmt: skip
    seconds = time.monotonic() - start - loaded
    return {"seconds": seconds, "waited_share": round(result.waited_share, 3)}


def child(options: argparse.Namespace) -> None:
    """One of the two in this process; prints what it cost."""
    found = {"loop": loop, "prepare": ours}[options.part](options, options.out)
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    if torch.cuda.is_available():
        found["device_gb"] = torch.cuda.max_memory_allocated() / 1e9
    print(json.dumps(found))


def main() -> None:
    """Measures and prints; the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=list(CONFIGS), default="full")
    parser.add_argument("--folder", type=Path, required=True, help="of the random backbone")
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--device")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--num_workers", type=int)
    parser.add_argument("--part", choices=["loop", "prepare"], help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        child(options)
        return
    if not (options.folder / "model_index.json").exists():
        build(options.folder, options.size)
    side, found = SIDES[options.size], {}
    with tempfile.TemporaryDirectory() as made:
        data = Path(made) / "data"
        make_videos(data, options.videos, side)
        for part in ("loop", "prepare"):
            command = [*sys.argv, "--part", part, "--data", data, "--out", Path(made) / part]
            done = subprocess.run(
                [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True, check=True
            )
            one = json.loads(done.stdout.splitlines()[-1])
            rate = options.videos / one["seconds"]
            found[part] = one | {"videos_per_second": rate}
            print(f"{part:<8} {one['seconds']:8.1f} s, {rate:.3f} videos a second, "
                  f"peak {one['peak_gb']:.2f} GB", flush=True)  # fmt: skip
    ratio = found["loop"]["seconds"] / found["prepare"]["seconds"]
    print(f"prepare takes {1 / ratio:.2f} of the loop's time; its encoders waited "
          f"{found['prepare']['waited_share']:.0%} of theirs for decoding")  # fmt: skip
    about = {"size": options.size, "videos": options.videos, "side": side, "frames": NUM_FRAMES}
    about |= {"device": str(choose_device(options.device)), "precision": options.precision}
    print(json.dumps(about | {"torch": torch.__version__} | found))


if __name__ == "__main__":
    main()
