"""`aid predict`: one frame and one instruction become a video.

It checks what it can before it imports torch and loads weights.
"""

import time
from pathlib import Path

from aid.cli.memory import keep_freed_memory
from aid.cli.states import ask_first
from aid.cli.terminal import check_output, check_sampling, progress_bar
from aid.config import Precision
from aid.config.bounds import require_seed, require_size, require_videos


def predict(
    frame: Path,
    instruction: str,
    out: Path = Path("prediction.mp4"),
    next_frames: list[Path] | None = None,
    gif: bool = False,
    sheet: bool = False,
    num_videos: int = 1,
    seed: int = 0,
    num_steps: int | None = None,
    image_guidance: float | None = None,
    text_guidance: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    static_threshold: float | None = None,
    states: list[str] | None = None,
    states_from: str | None = None,
    understand: bool = True,
    model: str = "tabletop",
    backbone: str | None = None,
    device: str | None = None,
    precision: Precision = "float32",
    offload: bool = False,
    height: int | None = None,
    width: int | None = None,
    num_frames: int | None = None,
    motion_bucket_id: float | None = None,
    noise_aug_strength: float | None = None,
    decode_chunk: int = 16,
) -> None:
    """Predicts the video of what happens next to one frame.

    Args:
        frame: a picture; or a video, or a folder of frames, whose first frames are given to the
            model: as many as it was trained with, those of a video at the model's rate. What has
            another shape than the model's videos is cropped to its centre.
        instruction: what is to happen, such as "put the red block in the blue bowl".
        out: the file to write: .mp4, .gif or .png (a contact sheet).
        next_frames: the pictures after the first, for a model of several given frames, as
            --next_frames b.png c.png.
        gif: write a .gif as well.
        sheet: write a .png contact sheet as well.
        num_videos: how many videos to predict, with different noise.
        seed: seed of the first video; each further video adds 1.
        num_steps: sampling steps; by default the checkpoint's. Fewer are faster and coarser.
        image_guidance: s_V, the guidance scale of the frame; by default the checkpoint's.
        text_guidance: s_T, the guidance scale of the text; by default the checkpoint's.
        guidance_interval: lowest and highest noise level at which guidance acts, as
            --guidance_interval 5 inf; outside of it a step costs one prediction, not two or three.
        static_threshold: keep the frame's own pixels where no predicted latent departs by this from
            the frame's; 0 keeps none; by default the checkpoint's.
        states: what the video passes through, as --states "first ..." "then ...".
        states_from: who writes the states: tabletop-rules, none, vlm:MODEL, server:URL#MODEL,
            smollm2; by default the writer of the training data's states if it needs neither
            the network nor another model.
        understand: find in free speech what the model can do, as the table-top does, and refuse
            what it cannot; otherwise the model reads the words as they are.
        model: "tabletop", a checkpoint's folder, or one with `aid/` and `backbone/`.
        backbone: folder of the backbone, if it is not the model's own.
        device: cpu, cuda, cuda:1, mps or xpu; by default an accelerator, else the CPU.
        precision: arithmetic of the networks: float32, or bfloat16 or float16 for half the memory.
        offload: keep frozen networks in the CPU's memory and move them to the device one at a time.
        height: height of the video in pixels; by default that of the training videos.
        width: its width in pixels; likewise.
        num_frames: frames of the video; by default as many as the training videos.
        motion_bucket_id: SVD's condition for the amount of motion, 0 to 255; by default as in
            training.
        noise_aug_strength: standard deviation of the noise on the frame, which is also SVD's
            condition; likewise.
        decode_chunk: frames decoded at a time; fewer take less memory.
    """
    if not instruction.strip():
        raise ValueError("the instruction is empty. Say what should happen, in quotes.")
    outs = [out]
    outs += [out.with_suffix(".gif")] if gif else []
    outs += [out.with_suffix(".png")] if sheet else []
    for path in outs:
        check_output(path)
    require_videos(num_videos)
    require_seed(seed)
    if decode_chunk < 1:
        raise ValueError(f"decode_chunk must be at least 1, got {decode_chunk}.")
    for name, value in (
        ("motion_bucket_id", motion_bucket_id), ("noise_aug_strength", noise_aug_strength),
    ):  # fmt: skip
        if value is not None and value < 0:
            raise ValueError(f"{name} must be 0 or more, got {value:g}.")
    check_sampling(
        num_steps=num_steps, image_guidance=image_guidance, text_guidance=text_guidance,
        guidance_interval=guidance_interval, static_threshold=static_threshold,
    )  # fmt: skip
    keep_freed_memory(device)
    from aid.models.checkpoint import read_info
    from aid.models.devices import choose_device
    from aid.predict import Predictor, find_checkpoint, state_writer_of
    from aid.predict.frames import fit_given, read_given
    from aid.worlds import ask_world, understanding_of

    choose_device(device)  # refuses one that is not there

    info = read_info(find_checkpoint(model))
    number = info.model.condition.num_given_frames
    given = read_given([frame, *next_frames] if next_frames else frame, number, info.fps)
    writer = state_writer_of(model, states_from, device=device)
    size = info.height if height is None else height, info.width if width is None else width
    require_size(*size, number)
    shown = fit_given(given[:1], *size)[0]
    understood = ask_world(
        understanding_of(info.state_writer) if understand else None, shown, instruction
    )
    if states is None:
        ask_first(writer, [shown], [understood.instruction])
    predictor = Predictor.from_pretrained(
        model, backbone, device, state_writer=writer, precision=precision, offload=offload,
        num_frames=num_frames, understand=understand, height=size[0],
        width=size[1],
    )  # fmt: skip
    predictor.backbone.decode_chunk = decode_chunk
    sampler = predictor.sampler_with(
        num_steps, image_guidance, text_guidance, guidance_interval, static_threshold
    )
    print(predictor.describe(sampler, None if states is None else "caller"))
    start = time.monotonic()
    with progress_bar("sampling") as on_step:
        prediction = predictor(
            given, instruction, num_videos=num_videos, seed=seed, num_steps=num_steps,
            image_guidance=image_guidance, text_guidance=text_guidance,
            guidance_interval=guidance_interval, static_threshold=static_threshold,
            states=states,
            motion_bucket_id=motion_bucket_id, noise_aug_strength=noise_aug_strength,
            on_step=on_step,
        )  # fmt: skip
    if prediction.understood is not None:
        print(f"understood       {prediction.understood}")
    for state in prediction.states:
        print(f"state            {state}")
    print(f"time             {time.monotonic() - start:.1f} s")
    for path in dict.fromkeys(outs):
        for written in prediction.save(path):
            print(written)
