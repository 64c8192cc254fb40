"""`aid tabletop`: the built-in world's videos, its backbone, its feature extractor and its demo.

Each command imports what it needs when it runs, so that `aid --help` does not pay for torch.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from aid.cli.memory import keep_freed_memory
from aid.cli.terminal import check_folder, check_sampling, progress_bar
from aid.config import LoopConfig, Precision
from aid.config.bounds import require_seed
from aid.tabletop.pretrain.config import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Number of scenes of each split of a table-top data set; 0 leaves the split out."""

    play: int = 0
    """Without instructions, in many looks, for pretraining; up to 2 videos a scene."""
    train: int = 0
    """To learn instructions from; 4 videos a scene."""
    val: int = 0
    """Unseen scenes to choose settings on; 4 videos a scene."""
    test: int = 0
    """Unseen scenes; 4 videos a scene."""
    forks: int = 0
    """Unseen scenes for comparing instructions on one frame; 4 videos a scene."""
    combos: int = 0
    """Combinations of words that `train` never asks for; 1 video a scene."""
    twins: int = 0
    """To learn shapes from: two objects of one colour, asked in pairs; 4 videos a scene."""
    ogbench: int = 0
    """Rollouts of OGBench's UR5e, without instructions, for pretraining; up to 4 videos each."""
    fetch: int = 0
    """Rollouts of Gymnasium-Robotics' Fetch, without instructions; up to 3 videos each."""


def make(
    out: Path,
    scenes: Scenes,
    size: int = 64,
    num_frames: int = 16,
    seed: int = 0,
    num_workers: int | None = None,
    shadows: bool = False,
    wordings: Literal["simple", "train", "held_out"] = "simple",
) -> None:
    """Makes videos of the built-in table-top world. Run again, it resumes where it stopped.

    Args:
        out: folder of the data set; each split becomes a folder in it.
        scenes: how many of each split.
        size: height and width in pixels, a multiple of 8 from 64 to 256.
        num_frames: frames of a video.
        seed: data sets of different seeds share no scene.
        num_workers: processes; by default one per core.
        shadows: cast shadows, several times slower.
        wordings: of the instructions: the three simplest of each kind of task, all that may be
            trained on, or three others that no model is trained on.
    """
    from aid.tabletop.world.generate import generate

    splits = {name: number for name, number in asdict(scenes).items() if number}
    if not splits:
        raise ValueError("no split was chosen. Give a number of scenes: --scenes.train 1000")
    generate(
        out, splits=splits, size=size, num_frames=num_frames, seed=seed,
        num_workers=num_workers, shadows=shadows, wordings=wordings,
    )  # fmt: skip
    print(out)


def pretrain(
    data: Path,
    out: Path,
    pretrain: PretrainConfig,
    stage: Literal["all", "autoencoder", "clip", "words", "unet"] = "all",
    run: Path | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains the table-top's backbone from random weights. Run again, it resumes where it stopped.

    Args:
        data: a data set without instructions: the `play` split and, joined with it, other worlds.
        out: folder of the backbone.
        pretrain: sizes and training of the parts.
        stage: which part; each needs those before it.
        run: folder of logs and saved states; by default `runs` in the backbone's folder.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.models.devices import choose_device

    choose_device(device)  # refuses one that is not there, before anything is written
    run = run or out / "runs"
    if stage in ("all", "autoencoder"):
        from aid.tabletop.pretrain.autoencoder import train_autoencoder

        loop = pretrain.autoencoder_loop
        train_autoencoder(
            data, out, run / "autoencoder", pretrain.autoencoder, loop, device, precision
        )
    if stage in ("all", "clip"):
        from aid.tabletop.pretrain.clip import train_clip

        train_clip(data, out, run / "clip", pretrain.clip, pretrain.clip_loop, device, precision)
    if stage in ("all", "words"):
        from aid.tabletop.pretrain.words import train_words

        train_words(out, run / "words", pretrain.words, device, precision)
    if stage in ("all", "unet"):
        from aid.tabletop.pretrain.image_to_video import train_unet

        train_unet(data, out, run / "unet", pretrain, device, precision)
    print(out)


def extractor(
    data: Path,
    held_out: Path,
    out: Path,
    loop: LoopConfig,
    limit: int | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains the table-top's feature extractor. Run again, it resumes where it stopped.

    Args:
        data: a split of a table-top data set to learn from: train.
        held_out: another one, for its accuracy: val.
        out: folder of the extractor.
        loop: the training loop.
        limit: only the first so many videos.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.tabletop.extractor import train_extractor

    told = train_extractor(data, held_out, out, loop, limit, device, precision)
    for question, share in told.items():
        print(f"{question:<16} {100 * share:.1f} % right on {held_out.name}")
    print(out)


def build(
    out: Path,
    recipes: Path = Path("configs/tabletop"),
    seed: int = 0,
    share: float = 1.0,
    until: str | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Makes the table-top's model from nothing: data, backbone, AID, score card. Resumes.

    Args:
        out: folder of everything that is made; build.json in it lists commands and seconds.
        recipes: folder of backbone.yaml, aid.yaml and aid_coarse.yaml.
        seed: of the data and of every training.
        share: of the scenes and the steps; 1 is the recipe, 0.01 a rehearsal.
        until: the last stage to carry out, such as pretrain.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
    """
    from aid.models.devices import choose_device
    from aid.tabletop.build import Stage
    from aid.tabletop.build import build as carry_out

    if device is not None:
        choose_device(device)  # refuses one that is not there, before anything is written

    def tell(number: int, number_of_all: int, name: str) -> None:
        print(f"{number} of {number_of_all}: {name} ({out / name}.log)", flush=True)

    def check(stage: Stage) -> None:
        from aid.cli import check as check_command

        check_command(stage.arguments)

    carry_out(
        out, recipes, seed=seed, share=share, precision=precision, device=device, until=until,
        on_stage=tell, check=check,
    )  # fmt: skip
    print(out)


def demo(
    out: Path = Path("demo"),
    model: str = "tabletop",
    backbone: str | None = None,
    frames: Path | None = None,
    num_steps: int | None = None,
    seed: int = 0,
    states_from: str | None = None,
    understand: bool = True,
    device: str | None = None,
    precision: Precision = "float32",
    offload: bool = False,
) -> None:
    """Predicts several instructions for each of four unseen first frames: videos and sheets.

    Args:
        out: folder to write into; made if only its parent exists.
        model: as for `aid predict`.
        backbone: as for `aid predict`.
        frames: a folder with frames.json; by default the frames that come with the model.
        num_steps: sampling steps.
        seed: of every video.
        states_from: as for `aid predict`.
        understand: as for `aid predict`.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        offload: as for `aid predict`.
    """
    check_folder(out if out.exists() else out.parent)
    require_seed(seed)
    check_sampling(num_steps=num_steps)
    keep_freed_memory(device)
    from aid.conditioning.states import UnavailableStateWriter
    from aid.models.devices import choose_device
    from aid.predict import Predictor, state_writer_of
    from aid.tabletop import ASSETS
    from aid.tabletop.demo import make_demo
    from aid.worlds import read_frames

    choose_device(device)  # refuses one that is not there
    read_frames(frames or ASSETS / "frames")
    writer = state_writer_of(model, states_from, device=device)
    if isinstance(writer, UnavailableStateWriter):
        writer.write([], [])
    predictor = Predictor.from_pretrained(
        model, backbone, device, state_writer=writer, precision=precision, offload=offload,
        understand=understand,
    )  # fmt: skip
    print(predictor.describe(predictor.sampler_with(num_steps)))
    with progress_bar("sampling") as on_step:
        make_demo(predictor, out, frames, num_steps=num_steps, seed=seed, on_step=on_step)
