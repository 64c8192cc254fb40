"""Commands that look before anything is loaded: what a run will take, and whether this machine can.

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

import importlib.util
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from aid.config import FrameConfig, ModelConfig, Precision, SamplerConfig, TrainConfig

GB = 1e9
EXTRAS = {"mujoco": "tabletop", "pyarrow": "data", "matplotlib": "report", "ray": "ray"}


def plan(
    model: ModelConfig,
    train: TrainConfig,
    sampler: SamplerConfig | None = None,
    frames: FrameConfig | None = None,
    backbone: str = "tabletop",
    height: int | None = None,
    width: int | None = None,
    videos: int = 10_000,
    sentences: int = 1_000,
    memory: float | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    precision: Precision = "float32",
) -> None:
    """Says what training will take before anything is loaded: parameters, memory, cache, steps.

    Args:
        model: shape of the trained part.
        train: the training loop.
        sampler: not used; here so that a recipe serves all commands.
        frames: the recipe's; its height and width, where no flag says otherwise.
        backbone: "tabletop", a folder, or a published name, which need not be downloaded.
        height: of the videos, in pixels; by default 256, or what the backbone was
            made for if that is less.
        width: likewise.
        videos: how many the cache will hold.
        sentences: how many distinct instructions and states it will hold.
        memory: of the device in GB; by default this machine's.
        device: what it is; by default this machine's, and a GPU where `memory` is given.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    import torch

    import aid.train  # noqa: F401  (so that this process is as large as one that trains)
    from aid.data.cache import cache_size
    from aid.models.sizes import BY_NAME, sizes_of, usual_size
    from aid.plan import configs_of, forecast_training, remedies
    from aid.predict import find_backbone

    published = backbone.partition("+")[0].partition("@")[0]
    found = published if published in BY_NAME else find_backbone(backbone)
    configs = configs_of(found)
    side = 256 if isinstance(found, str) else min(256, *usual_size(found))
    frames = frames or FrameConfig()
    height, width = height or frames.height or side, width or frames.width or side
    _check_size(configs, height, width)
    available = memory * GB if memory else device_memory()
    is_cpu = device == "cpu" if device else not memory and not torch.cuda.is_available()

    process = resident_bytes()

    def forecast(settings: TrainConfig, precision: Precision):
        return forecast_training(
            configs, model, settings, height, width, process, is_cpu, precision
        )

    found = forecast(train, precision)
    print(f"backbone         {backbone}, {model.num_frames} frames of {width}x{height}")
    for name, number in found.parameters.items():
        print(f"{name:<24} {number / 1e6:>9,.2f} M parameters")
    for name, number in found.parts().items():
        print(f"{name:<24} {number / GB:>9,.2f} GB")
    print(f"{'peak while training':<24} {found.peak / GB:>9,.2f} GB of {available / GB:,.1f} GB")
    sizes = sizes_of(configs)
    room = cache_size(  # at most: no two videos share a first frame, all sentences are long
        sizes, num_videos=videos, num_firsts=videos, num_tokens=sentences * sizes.num_text_tokens,
        num_frames=model.num_frames, num_given_frames=model.condition.num_given_frames,
        height=height, width=width,
    )  # fmt: skip
    print(
        f"{'cache':<24} {room.total / GB:>9,.2f} GB for {videos:,} videos, {sentences:,} sentences"
    )
    each = train.batch_size * train.accumulate
    epochs = train.steps * each / videos
    print(f"{'steps':<24} {train.steps:>9,} of {each} videos, {epochs:.1f} epochs")
    if found.peak <= available:
        print("it fits.")
        return
    print("it does not fit. Change, one on top of the other:")
    before = found.peak
    for change, settings, asked in remedies(train, precision):
        peak = forecast(settings, asked).peak
        if peak >= before:  # such as 8-bit moments of very small tensors
            continue
        before = peak
        print(f"  {change:<40} {peak / GB:>7,.2f} GB")
        if peak <= available:
            return
    print("  and still it does not fit: fewer frames, smaller videos, or a larger device.")


def _check_size(configs: dict, height: int, width: int) -> None:
    scale = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    levels = len(configs["unet"].get("block_out_channels", (320, 640, 1280, 1280)))
    side = scale * 2 ** (levels - 1)
    if height % side or width % side:
        raise ValueError(
            f"height and width must be multiples of {side} for this backbone, got {height} and "
            f"{width}. Try {max(1, height // side) * side} and {max(1, width // side) * side}."
        )


def resident_bytes() -> int:
    """Memory that this process holds."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return int(0.6 * GB)
    return pages * os.sysconf("SC_PAGE_SIZE")


def device_memory() -> int:
    """Bytes of the first GPU, or of this machine if there is none."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def doctor(backbone: str = "tabletop") -> None:
    """Checks the machine and the installation, and says what to do about what is missing.

    Args:
        backbone: "tabletop", a folder or a name; its files are checked, not loaded.
    """
    import torch

    from aid.models.folder import NETWORK_NAMES, weight_files
    from aid.predict import find_backbone

    print(f"python           {platform.python_version()}, {platform.system()}")
    for name in ("aid-video", "torch", "diffusers", "transformers", "accelerate", "peft"):
        print(f"{name:<16} {version(name)}")
    for module, extra in EXTRAS.items():
        is_there = importlib.util.find_spec(module) is not None
        remedy = f"not installed; if wanted: pip install 'aid-video[{extra}]'"
        try:
            print(f"{module:<16} {version(module) if is_there else remedy}")
        except PackageNotFoundError:
            print(f"{module:<16} {remedy}")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        print(f"gpu              {properties.name}, {properties.total_memory / GB:.1f} GB")
        print(f"bfloat16         {'yes' if torch.cuda.is_bf16_supported() else 'no; use float16'}")
    else:
        print("gpu              none; SVD at full size needs minutes for a video on a CPU")
        print(f"bfloat16         {'in hardware' if has_bfloat16() else 'emulated, slow'}")
    print(f"cores            {os.cpu_count()}, torch uses {torch.get_num_threads()}")
    print(f"memory           {device_memory() / GB:.1f} GB")
    print(f"disk here        {shutil.disk_usage('.').free / GB:.1f} GB free")
    folder = find_backbone(backbone)
    for name in NETWORK_NAMES:
        size = sum(file.stat().st_size for file in weight_files(folder, name))
        print(f"{name:<16} {size / GB:.2f} GB")
    print("everything that `aid` needs is here.")


def has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16 itself."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
        return bool({"amx_bf16", "avx512_bf16"} & set(flags))
    except OSError:
        return False
