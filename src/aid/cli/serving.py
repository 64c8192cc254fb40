"""The command that opens the studio in a browser."""

from importlib.util import find_spec
from pathlib import Path

from aid.cli.memory import keep_freed_memory
from aid.config import Precision
from aid.web.limits import Limits


def web(
    limits: Limits,
    model: str = "tabletop",
    backbone: str | None = None,
    rival: str | None = None,
    rival_backbone: str | None = None,
    frames: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    password_file: Path | None = None,
    names: str = "",
    states_from: str | None = None,
    understand: bool = True,
    device: str | None = None,
    precision: Precision = "float32",
    offload: bool = False,
) -> None:
    """Opens the studio, a page in the browser that predicts and compares.

    Args:
        limits: of uploads, requests and the queue.
        model: as for `aid predict`.
        backbone: as for `aid predict`.
        rival: a second checkpoint to compare with, given like the model.
        rival_backbone: its backbone, if it is not its own.
        frames: example frames to pick from, a folder with a frames.json; by default those of the
            world whose backbone the model uses.
        host: address to listen at; 127.0.0.1 is this machine only.
        port: to listen at; 0 takes a free one.
        password_file: a file whose first line is the password that visitors need.
        names: further names by which visitors may call the studio, separated by commas, such as
            that of a proxy; it always answers to its address and its machine's name.
        states_from: who says the states of model and rival, as for `aid predict`; without one,
            visitors write them where the checkpoint's own writer cannot be used.
        understand: as for `aid predict`.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        offload: as for `aid predict`.
    """
    keep_freed_memory(device)
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be from 0 to 65535, got {port}.")
    if find_spec("gradio") is None:  # not imported yet: `serve` sets its environment before
        raise ValueError("the studio needs Gradio: pip install 'aid-video[web]'")
    from aid.models.devices import choose_device
    from aid.web.server import read_password, serve

    choose_device(device)  # refuses one that is not there, before the page opens
    password = None if password_file is None else read_password(password_file)

    examples = _example_frames(frames, model, backbone)

    def open_studio() -> object:
        from aid.web.studio import Model, Studio

        computing = {
            "device": device, "precision": precision, "offload": offload, "understand": understand
        }  # fmt: skip
        models = [Model.load(model, backbone, states_from=states_from, **computing)]
        if rival is not None:
            models.append(Model.load(rival, rival_backbone, states_from=states_from, **computing))
        if len({one.name for one in models}) < len(models):
            raise ValueError(f"--model and --rival are both {models[0].name!r}. Give two.")
        print(models[0].predictor.describe(), flush=True)
        return Studio(models, limits, examples)

    serve(open_studio, host=host, port=port, password=password, names=names)


def _example_frames(folder: Path | None, model: str, backbone: str | None) -> list:
    """The frames of `folder`; without one those of the world whose backbone the model uses."""
    from aid.predict import find_model
    from aid.worlds import installed_worlds, read_frames

    if folder is not None:
        return read_frames(folder)
    frozen = find_model(model, backbone)[1]
    for world in installed_worlds().values():
        is_its = world.model is not None and frozen == world.model / "backbone"
        if is_its and world.frames is not None:
            return read_frames(world.frames)
    return []
