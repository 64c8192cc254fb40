"""AID as a diffusers pipeline: Stable Video Diffusion plus one small folder of trained weights.

For people whose code is built on diffusers; `Predictor`, which does the work, is for all others.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from huggingface_hub import create_repo, snapshot_download, upload_folder
from PIL import Image

from aid.models.checkpoint import save_checkpoint
from aid.models.folder import is_name
from aid.predict.figures import figures_of
from aid.predict.frames import Given, fit_given, is_whole
from aid.predict.loading import find_model, merge_where_exact
from aid.predict.predictor import Predictor
from aid.predict.sampling import FrameEncodings

OnStepEnd = Callable[["AIDPipeline", int, int, dict[str, Any]], Any]


@dataclass
class AIDPipelineOutput(BaseOutput):
    """`frames[i]` is video i: a list of PIL images, or uint8 `f H W 3`.

    `instructions[i]` is the instruction that the model read, as it was understood, and `states[i]`
    are its states.
    """

    frames: list[list[Image.Image]] | list[np.ndarray]
    states: list[list[str]]
    instructions: list[str]


class AIDPipeline(DiffusionPipeline):
    """One frame and one instruction become a video; build it with `from_pretrained`.

    The components are the backbone's, with diffusers' own names. The trained part joins `unet` by
    hooks, so `unet` is stock by name and tensor; the part itself is `predictor.denoiser.trained`.
    """

    def __init__(self, vae, image_encoder, unet, text_encoder, tokenizer) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            image_encoder=image_encoder,
            unet=unet,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
        )
        self.predictor: Predictor | None = None
        self.adapter: Path | None = None

    @classmethod
    def from_pretrained(
        cls,
        adapter: str | Path,
        backbone: str | Path | None = None,
        torch_dtype: torch.dtype = torch.float32,
        **settings: Any,
    ) -> "AIDPipeline":
        """Loads the trained part on its backbone; both stay on the CPU until `.to(device)`.

        Args:
            adapter: the name of an installed world ("tabletop"), a checkpoint folder, or a name
                on the Hugging Face Hub.
            backbone: a folder or a name; None as for `Predictor.from_pretrained`.
            torch_dtype: of the frozen weights and their arithmetic.
            settings: more of `Predictor.from_pretrained`: `height`, `num_frames`, `state_writer`,
                `understand`...

        Raises:
            ValueError: something is missing, damaged or of another backbone.
        """
        folder = snapshot_download(str(adapter)) if is_name(str(adapter)) else adapter
        precision = str(torch_dtype).removeprefix("torch.")
        predictor = Predictor.from_pretrained(
            folder, backbone, "cpu", precision=precision, **settings
        )
        parts = predictor.backbone
        names = ("vae", "image_encoder", "unet", "text_encoder", "tokenizer")
        made = cls(**{name: getattr(parts, name) for name in names})
        made.predictor, made.adapter = predictor, find_model(folder, backbone)[0]
        return made

    def to(self, *args: Any, **kwargs: Any) -> "AIDPipeline":
        """As in diffusers. A dtype is for the frozen weights; trained ones stay float32."""
        insertion = self.predictor.denoiser.insertion
        insertion.detach()  # else LoRA, inside of the UNet, would be cast with it
        super().to(*args, **kwargs)
        insertion.attach()
        self.predictor.denoiser.trained.to(self.unet.device)
        merge_where_exact(self.predictor.denoiser)
        self.predictor.encodings = FrameEncodings()  # the old ones have another precision
        return self

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str = "cuda"
    ) -> None:
        """Keeps the frozen networks in the CPU's memory; they use the device one at a time."""
        self.remove_all_hooks()
        place = torch.device(device if gpu_id is None else f"{torch.device(device).type}:{gpu_id}")
        self.predictor.denoiser.trained.to(place)
        self.predictor.backbone.offload(place)

    @torch.no_grad()
    def __call__(
        self,
        image: Given | Sequence[Given],
        instruction: str | Sequence[str],
        *,
        num_inference_steps: int | None = None,
        image_guidance: float | None = None,
        text_guidance: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        states: Sequence[list[str]] | None = None,
        fps: float | Sequence[float] | None = None,
        motion_bucket_id: float | Sequence[float] | None = None,
        noise_aug_strength: float | Sequence[float] | None = None,
        num_videos_per_prompt: int = 1,
        generator: torch.Generator | None = None,
        batch_size: int = 8,
        decode_chunk_size: int = 16,
        output_type: Literal["pil", "np"] = "pil",
        callback_on_step_end: OnStepEnd | None = None,
    ) -> AIDPipelineOutput:
        """Predicts the video that follows each frame.

        Args:
            image: a frame, or one for each instruction. For a model of K given frames each is a
                list of K frames, pixels `k H W 3`, or the path of a video or of a folder of frames.
            instruction: what should happen, or one instruction for each frame.
            num_inference_steps: sampling steps; None, here and for guidance, takes the model's own.
            image_guidance: s_V.
            text_guidance: s_T.
            guidance_interval: (lowest, highest) noise level at which guidance is used.
            states: of each frame and instruction; None calls the state writer.
            fps: of all videos, or of each frame and instruction, for a model without
                `condition.fps`; None, here and below, takes the model's own.
            motion_bucket_id: likewise; SVD's condition for the amount of motion, 0 to 255.
            noise_aug_strength: likewise; of the noise on the given frame.
            num_videos_per_prompt: for each frame and instruction.
            generator: the seed of a new generator is the first video's, and the next ones count up;
                a generator that was used before gives other seeds each time. None is seed 0.
            batch_size: number of videos sampled at once.
            decode_chunk_size: frames decoded at once; fewer take less memory.
            output_type: PIL images or uint8 arrays.
            callback_on_step_end: called as in diffusers with (pipeline, step, steps left, {}).

        Raises:
            ValueError: the numbers of frames and instructions differ, an instruction was not
                understood, a video lacks given frames, or a number is out of range.
        """
        instructions = [instruction] if isinstance(instruction, str) else list(instruction)
        frames = self._each(image)
        if len(frames) == 1:
            frames *= len(instructions)
        if len(frames) != len(instructions):
            raise ValueError(
                f"got {len(frames)} frames and {len(instructions)} instructions. Give one "
                "instruction for each frame."
            )
        height, width = self.predictor.height, self.predictor.width
        pixels = [fit_given(self.predictor.read_given(one), height, width) for one in frames]
        firsts = zip((given[0] for given in pixels), instructions, strict=True)
        instructions = [self.predictor.understand(*one).instruction for one in firsts]
        if states is None:
            states = self.predictor.write_states([given[0] for given in pixels], instructions)
        times = [i for i in range(len(instructions)) for _ in range(num_videos_per_prompt)]
        micro = {
            "fps": fps, "motion_bucket_id": motion_bucket_id,
            "noise_aug_strength": noise_aug_strength,
        }  # fmt: skip
        seeds = _seeds(generator, len(times))
        self.predictor.backbone.decode_chunk = decode_chunk_size
        sampler = self.predictor.sampler_with(
            num_inference_steps, image_guidance, text_guidance, guidance_interval
        )
        with self.progress_bar(total=-(-len(times) // batch_size) * sampler.num_steps) as bar:

            def on_step(done: int, total: int) -> None:
                bar.update()
                if callback_on_step_end is not None:
                    callback_on_step_end(self, done - 1, total - done, {})

            videos = self.predictor.predict_many(
                [pixels[i] for i in times],
                [instructions[i] for i in times],
                seeds,
                states=[states[i] for i in times],
                **{name: _of_each(name, value, times) for name, value in micro.items()},
                sampler=sampler,
                batch_size=batch_size,
                on_step=on_step,
            )
        if output_type == "pil":
            videos = [[Image.fromarray(frame) for frame in video] for video in videos]
        return AIDPipelineOutput(
            frames=videos,
            states=[list(states[i]) for i in times],
            instructions=[instructions[i] for i in times],
        )

    def _each(self, image: Given | Sequence[Given]) -> list[Given]:
        """The given frames of each video; K single pictures are those of one video."""
        if not isinstance(image, list | tuple):
            return [image]
        k = self.predictor.num_given_frames
        if k > 1 and len(image) == k and not any(is_whole(one) for one in image):
            return [image]
        return list(image)

    def save_pretrained(
        self, save_directory: str | Path, score: str | Path | None = None, **_: Any
    ) -> None:
        """Writes the trained part without the backbone: safetensors, settings, model card.

        Args:
            save_directory: the folder.
            score: folder of a score card (`aid evaluate`) for the model card; None takes the score
                cards of this checkpoint in folders beside it.
        """
        figures = figures_of(self.adapter, score)
        save_checkpoint(
            save_directory, self.predictor.denoiser, self.predictor.info, figures=figures
        )

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        token: str | None = None,
        score: str | Path | None = None,
        **_: Any,
    ) -> str:
        """Uploads what `save_pretrained` writes; returns the commit's address."""
        name = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / "aid", score)
            return upload_folder(repo_id=name, folder_path=Path(folder) / "aid", token=token)


def _seeds(generator: torch.Generator | None, number: int) -> list[int]:
    """A seed for each video; the generator's state advances, as in diffusers."""
    first = 0 if generator is None else generator.initial_seed()
    if generator is not None:
        fresh = torch.Generator(generator.device).manual_seed(first)
        is_new = torch.equal(generator.get_state(), fresh.get_state())
        drawn = torch.randint(2**62, (), generator=generator, device=generator.device)
        first = first if is_new else int(drawn)
    return [first + video for video in range(number)]


def _of_each(
    name: str, value: float | Sequence[float] | None, times: Sequence[int]
) -> list[float] | None:
    """The value for every video, from one for all or one for each instruction."""
    if value is None or isinstance(value, int | float):
        return None if value is None else [float(value)] * len(times)
    if len(value) != (wanted := max(times) + 1):
        raise ValueError(
            f"{name} needs one number or {wanted}, one for each frame and instruction, got "
            f"{len(value)}."
        )
    return [float(value[i]) for i in times]
