"""What a training run will take (`aid train --dry_run`), and what this machine has (`aid doctor`).

Each imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

import importlib.util
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aid.config import ModelConfig, Precision, TrainConfig

GB = 1e9
EXTRAS = {"mujoco": "tabletop", "pyarrow": "data", "matplotlib": "report", "ray": "ray"}


def print_forecast(
    model: ModelConfig,
    train: TrainConfig,
    *,
    backbone: str | Path,
    height: int | None,
    width: int | None,
    num_videos: int,
    num_sentences: int,
    memory: float | None,
    device: str | None,
    precision: Precision,
) -> None:
    """Prints what training will take: parameters, memory, cache, steps. Nothing is loaded.

    Args:
        model: shape of the trained part.
        train: the training loop.
        backbone: a folder, or a published name, which need not be downloaded.
        height: of the videos, in pixels; None takes 256, or what the backbone was made for if that
            is less.
        width: likewise.
        num_videos: that the cache holds.
        num_sentences: distinct instructions and states that it holds.
        memory: of the device in GB; None takes this machine's.
        device: None takes this machine's, and a GPU where `memory` is given.
        precision: arithmetic of the networks.
    """
    import torch

    from aid.models.sizes import BY_NAME, usual_size
    from aid.predict import find_backbone
    from aid.train.forecast import configs_of, forecast_lines

    published = str(backbone).partition("+")[0].partition("@")[0]
    found = published if published in BY_NAME else find_backbone(backbone)
    configs = configs_of(found)
    side = 256 if isinstance(found, str) else min(256, *usual_size(found))
    lines = forecast_lines(
        backbone,
        configs,
        model,
        train,
        height or side,
        width or side,
        num_videos=num_videos,
        num_sentences=num_sentences,
        available=memory * GB if memory else device_memory(),
        process=resident_bytes(),
        is_cpu=device == "cpu" if device else not memory and not torch.cuda.is_available(),
        precision=precision,
    )
    for line in lines:
        print(line)


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
