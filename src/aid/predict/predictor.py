"""`Predictor`: a loaded model, ready to predict. `Prediction`: its result, ready to be saved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from aid.conditioning.states import NoStateWriter, StateWriter, write_and_release
from aid.config import SamplerConfig
from aid.config.bounds import require_seed, require_size, require_videos
from aid.models.backbone import Backbone
from aid.models.checkpoint import CheckpointInfo
from aid.models.denoiser import Denoiser
from aid.models.devices import choose_device
from aid.models.sizes import usual_size
from aid.predict.frames import Given, checked_instruction, fit_given, read_given, warn_if_fitted
from aid.predict.loading import (
    default_state_writer,
    describe,
    find_backbone,
    load_backbone_only,
    load_model,
    place,
)
from aid.predict.sampling import (
    FrameEncodings,
    MicroConditions,
    preview,
    sample_videos,
    text_tokens,
)
from aid.video import contact_sheet, to_float, to_uint8, write_gif, write_mp4, write_png
from aid.worlds import Understand, Understood, ask_world, understanding_of

SUFFIXES = (".mp4", ".gif", ".png")
Video = UInt8[np.ndarray, "f H W 3"]
DEFAULT_FPS = 7.0  # SVD's
OnStep = Callable[[int, int], None]
Look = Callable[[int], list[Video]]
"""Decodes that many frames of each video in the batch, as far as they are."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The videos of one frame and one instruction, with all inputs.

    `videos` are uint8 in [0, 255]; video i has the seed `seed` + i. `state_writer` is the name of
    the state writer, "caller" if the states were given. `fps` is frames per second. `given` are the
    given frames as the model read them; a contact sheet shows them above the videos if there are
    several.
    """

    videos: list[Video]
    given: UInt8[np.ndarray, "k H W 3"]
    instruction: str | None
    states: list[str]
    state_writer: str
    seed: int
    sampler: SamplerConfig
    fps: float
    understood: Understood | None = None
    """What a world understood and the model read; None if the model read the instruction itself."""

    @property
    def frames(self) -> Video:
        """The first video."""
        return self.videos[0]

    def save(self, path: Path | str) -> list[Path]:
        """Writes an .mp4, .gif or .png (contact sheet); several videos get numbered files.

        Raises:
            ValueError: the suffix is another one, or the folder cannot be written to.
        """
        path = Path(path)
        suffix, scale = path.suffix.lower(), max(1, 128 // self.frames.shape[1])
        if suffix not in SUFFIXES:
            raise ValueError(
                f"{str(path)!r} must end in {', '.join(SUFFIXES)}. Try {path.stem}.mp4"
            )
        if suffix == ".png":
            rows = [(self.instruction or "", video) for video in self.videos]
            if len(self.given) > 1:
                rows.insert(0, (f"{len(self.given)} given frames", self.given))
            write_png(path, contact_sheet(rows, scale=scale))
            return [path]
        paths = [path]
        if len(self.videos) > 1:
            paths = [path.with_stem(f"{path.stem}-{i}") for i in range(len(self.videos))]
        for one, video in zip(paths, self.videos, strict=True):
            if suffix == ".mp4":
                write_mp4(one, video, self.fps)
            else:
                write_gif(one, video, self.fps, scale)
        return paths


class Predictor:
    """`predictor(frame, instruction)` predicts; build it with `from_pretrained`.

    Args:
        backbone: with all its parts.
        denoiser: on the backbone's UNet.
        sampler: the default settings of the sampler.
        state_writer: writes the states unless they are given.
        height: of the videos, in pixels; frames of other sizes are fitted.
        width: of the videos, in pixels.
        fps: frames per second of written files, and the fps condition of a model without
            `condition.fps` of its own.
        keep_given_frames: whether a video starts with the given frames themselves instead of the
            model's rendering of them. Choice: they are known, so a prediction should show them.
        info: the checkpoint's, for `describe`.
        understand: puts an instruction into words that the model knows (`aid.worlds`); None hands
            instructions over as they are.

    Raises:
        ValueError: the networks cannot process this size.
    """

    def __init__(
        self,
        backbone: Backbone,
        denoiser: Denoiser,
        sampler: SamplerConfig,
        state_writer: StateWriter,
        *,
        height: int,
        width: int,
        fps: float = DEFAULT_FPS,
        keep_given_frames: bool = True,
        info: CheckpointInfo | None = None,
        understand: Understand | None = None,
    ) -> None:
        require_size(height, width, denoiser.config.num_frames)
        side = backbone.down_scaling * 2 ** (len(denoiser.unet.config.block_out_channels) - 1)
        if height % side or width % side:
            raise ValueError(
                f"height and width must be multiples of {side} for this backbone, got {height} and "
                f"{width}. Try {max(1, height // side) * side} and {max(1, width // side) * side}."
            )
        self.backbone, self.denoiser, self.sampler = backbone, denoiser, sampler
        self.state_writer, self.info = state_writer, info
        self.height, self.width, self.fps = height, width, fps
        self.keep_given_frames = keep_given_frames
        self._understand = understand
        self.encodings = FrameEncodings()

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        backbone: str | Path | None = None,
        device: str | None = None,
        *,
        state_writer: StateWriter | None = None,
        precision: str = "float32",
        offload: bool = False,
        num_frames: int | None = None,
        understand: bool = True,
        **settings: int | float | bool,
    ) -> "Predictor":
        """Loads a checkpoint on its backbone.

        Args:
            name_or_folder: as for `find_model`: "tabletop", or a checkpoint's folder.
            backbone: as for `find_model`.
            device: as for `choose_device`.
            state_writer: None takes the one that the checkpoint names if it is installed code;
                recorded states and language models must be named or given.
            precision: of the frozen networks and their arithmetic.
            offload: whether frozen networks stay in the CPU's memory and use the device one at a
                time.
            num_frames: of a video; None takes that of the training videos.
            understand: whether the world that the checkpoint's states are from (`aid.worlds`) finds
                in free speech what the model can do; otherwise the model reads what was said.
            settings: `height`, `width`, `fps`, `keep_given_frames` of the `Predictor`; the first
                three are otherwise those of the training data.

        Raises:
            ValueError: a folder is missing, damaged, or of another backbone, or the device is not
                there.
        """
        chosen = choose_device(device)
        parts, denoiser, info = load_model(name_or_folder, backbone, precision, num_frames)
        known = {"height": info.height, "width": info.width, "fps": info.fps}
        place(parts, denoiser, chosen, offload)
        writer = state_writer or default_state_writer(info)
        listen = understanding_of(info.state_writer) if understand else None
        return cls(
            parts, denoiser, info.sampler, writer, info=info, understand=listen, **known | settings
        )

    @classmethod
    def backbone_only(
        cls,
        backbone: str | Path,
        device: str | None = None,
        *,
        precision: str = "float32",
        offload: bool = False,
        num_frames: int | None = None,
        **settings: int | float | bool,
    ) -> "Predictor":
        """The bare image-to-video backbone, which reads no instruction: the baseline to beat.

        Args:
            backbone: as for `find_backbone`.
            device: here and below as for `from_pretrained`.
            precision: of the networks.
            offload: whether they use the device one at a time.
            num_frames: of a video; None takes what the UNet was made for.
            settings: `height`, `width`, `fps`, `keep_given_frames` of the `Predictor`; the size is
                otherwise the one the UNet was made for.
        """
        chosen = choose_device(device)
        parts, denoiser, sampler = load_backbone_only(backbone, num_frames, precision)
        height, width = usual_size(find_backbone(backbone))
        known = {"height": height, "width": width}
        place(parts, denoiser, chosen, offload)
        return cls(parts, denoiser, sampler, NoStateWriter(), **known | settings)

    def __call__(
        self,
        frame: Given,
        instruction: str | None,
        *,
        num_videos: int = 1,
        seed: int = 0,
        num_steps: int | None = None,
        image_guidance: float | None = None,
        text_guidance: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        static_threshold: float | None = None,
        states: list[str] | None = None,
        motion_bucket_id: float | None = None,
        noise_aug_strength: float | None = None,
        on_step: OnStep | None = None,
        on_preview: Callable[[Look], None] | None = None,
    ) -> Prediction:
        """Predicts the video that follows the given frame.

        Args:
            frame: a path, a PIL image or uint8 pixels `H W 3` in [0, 255]. For a model of K given
                frames a list of K such frames, pixels `k H W 3`, or the path of a video or of a
                folder of frames, whose first K are taken; those of a video at the model's `fps`.
            instruction: what should happen; None only for `backbone_only`.
            num_videos: number of videos; video i has seed + i.
            seed: of the first video.
            num_steps: sampling steps; None, here and for the guidance, takes the model's own.
            image_guidance: s_V.
            text_guidance: s_T.
            guidance_interval: (lowest, highest) noise level at which guidance is used.
            static_threshold: as in `SamplerConfig`; 0 shows the decoded video everywhere.
            states: the states, instead of those of the state writer.
            motion_bucket_id: SVD's condition for the amount of motion, 0 to 255; None, here and for
                the noise, takes the model's own.
            noise_aug_strength: of the noise on the given frame, and SVD's condition for it.
            on_step: called with (sampling steps done, number of steps).
            on_preview: called after each step with a function that decodes the current estimate.

        Raises:
            ValueError: the instruction is empty or was not understood, the frame cannot be read,
                the number of frames is wrong, states are missing, or a number is out of range.
        """
        text = checked_instruction(instruction, self.denoiser.reads_text)
        require_videos(num_videos)
        require_seed(seed)
        read = self.read_given(frame)
        warn_if_fitted(read[0], self.height, self.width)
        given = fit_given(read, self.height, self.width)
        understood = self.understand(given[0], text)
        writer = "caller" if states is not None else self.state_writer.name
        if states is None:
            states = self.states_for(given[0], understood.instruction)
        sampler = self.sampler_with(
            num_steps, image_guidance, text_guidance, guidance_interval, static_threshold
        )
        videos = self.predict_many(
            [given] * num_videos, [understood.instruction] * num_videos,
            range(seed, seed + num_videos),
            states=[states] * num_videos, sampler=sampler, on_step=on_step, on_preview=on_preview,
            motion_bucket_id=_each(motion_bucket_id, num_videos),
            noise_aug_strength=_each(noise_aug_strength, num_videos),
        )  # fmt: skip
        return Prediction(
            videos=videos, given=given, instruction=instruction, states=states,
            state_writer=writer, seed=seed, sampler=sampler, fps=self.fps,
            understood=understood if self.understands else None,
        )  # fmt: skip

    def predict_many(
        self,
        frames: Sequence[Given],
        instructions: Sequence[str],
        seeds: Sequence[int],
        *,
        states: Sequence[list[str]] | None = None,
        fps: Sequence[float] | None = None,
        motion_bucket_id: Sequence[float] | None = None,
        noise_aug_strength: Sequence[float] | None = None,
        sampler: SamplerConfig | None = None,
        batch_size: int = 8,
        on_step: OnStep | None = None,
        on_preview: Callable[[Look], None] | None = None,
    ) -> list[Video]:
        """One video for each frame, instruction and seed.

        A video depends on its own seed and, except for rounding, not on its batch.

        Args:
            frames: of each video, as `read_given` takes them: uint8 `H W 3`, or `k H W 3` for a
                model of k given frames.
            instructions: as the model reads them (`understand` puts free speech into such words);
                "" stands for none.
            seeds: one for each video.
            states: of each video; None calls the state writer.
            fps: of each video, for a model without `condition.fps`; None takes the predictor's.
            motion_bucket_id: of each video; None takes the model's own.
            noise_aug_strength: likewise.
            sampler: None takes the model's own; see `sampler_with`.
            batch_size: number of videos sampled at once; with guidance the UNet gets three times as
                many.
            on_step: called with (sampling steps done, number of steps).
            on_preview: called after each step with a function that decodes the current estimate.
        """
        if not len(frames) == len(instructions) == len(seeds):
            numbers = f"{len(frames)}, {len(instructions)} and {len(seeds)}"
            raise ValueError(
                f"there must be as many frames as instructions and seeds, got {numbers}."
            )
        sampler = sampler or self.sampler
        read = [fit_given(self.read_given(one), self.height, self.width) for one in frames]
        given = [to_float(one) for one in read]
        if states is None:
            states = self.write_states([one[0] for one in read], instructions)
        fps = _each(self.fps, len(frames)) if fps is None else fps
        micro = MicroConditions(
            fps=fps, motion_bucket_id=motion_bucket_id, noise_aug_strength=noise_aug_strength
        )
        batches = [slice(i, i + batch_size) for i in range(0, len(frames), batch_size)]
        videos: list[Video] = []
        for number, batch in enumerate(batches):

            def report(step: int, _: float, denoised: torch.Tensor, number: int = number) -> None:
                if on_step is not None:
                    done = number * sampler.num_steps + step + 1
                    on_step(done, len(batches) * sampler.num_steps)
                if on_preview is not None:
                    on_preview(partial(preview, self.backbone, denoised))

            text = None
            if self.denoiser.reads_text:
                text = text_tokens(self.backbone, instructions[batch], states[batch])
            known = torch.stack(given[batch])
            drawn = sample_videos(
                self.backbone, self.denoiser, known, text, seeds[batch], micro.part(batch),
                sampler, report, self.encodings,
            )  # fmt: skip
            if self.keep_given_frames:
                for video, frames_of_it in zip(drawn, known, strict=True):
                    video[: len(frames_of_it)] = to_uint8(frames_of_it)
            videos += drawn
        return videos

    @property
    def num_given_frames(self) -> int:
        """K, the number of frames that the model is given."""
        return self.denoiser.config.condition.num_given_frames

    def read_given(self, frame: Given) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """The K given frames of one video, at their own size; `frame` as for `__call__`.

        Raises:
            ValueError: the frames cannot be read, or their number is wrong.
        """
        return read_given(frame, self.num_given_frames, self.fps)

    def understand(self, frame: UInt8[np.ndarray, "H W 3"], instruction: str) -> Understood:
        """What the model is to read for an instruction; the instruction itself without a world.

        Args:
            frame: the first given frame, at any size.
            instruction: what somebody said; "" stands for none.

        Raises:
            ValueError: it was not understood, or it asks for what the frame does not show.
        """
        fitted = fit_given([frame], self.height, self.width)[0]
        return ask_world(self._understand, fitted, instruction)

    @property
    def understands(self) -> bool:
        """Whether a world puts instructions into words that the model knows."""
        return self._understand is not None

    def states_for(self, frame: UInt8[np.ndarray, "H W 3"], instruction: str) -> list[str]:
        """The state writer's states of one video; edited ones can be given as `states`.

        Args:
            frame: the first given frame, at any size.
            instruction: what should happen.
        """
        return self.write_states([frame], [instruction])[0]

    def write_states(
        self, frames: Sequence[UInt8[np.ndarray, "H W 3"]], instructions: Sequence[str]
    ) -> list[list[str]]:
        """The state writer's states of each video; it gets fitted frames, as in training.

        Args:
            frames: the first given frame of each video, at any size.
            instructions: one for each frame.
        """
        fitted = [fit_given([frame], self.height, self.width)[0] for frame in frames]
        return write_and_release(self.state_writer, fitted, list(instructions))

    def sampler_with(
        self,
        num_steps: int | None = None,
        image_guidance: float | None = None,
        text_guidance: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        static_threshold: float | None = None,
    ) -> SamplerConfig:
        """The model's sampler settings with those changed that are not None."""
        changes = {
            "num_steps": num_steps, "image_guidance": image_guidance,
            "text_guidance": text_guidance, "guidance_interval": guidance_interval,
            "static_threshold": static_threshold,
        }  # fmt: skip
        return replace(self.sampler, **{name: v for name, v in changes.items() if v is not None})

    def describe(self, sampler: SamplerConfig | None = None, states_by: str | None = None) -> str:
        """A line for each loaded part; `sampler` and `states_by` replace the model's own."""
        return describe(
            self.denoiser, self.backbone.name, self.info, states_by or self.state_writer.name,
            f"{self.width}x{self.height}, {self.fps:g} a second", sampler or self.sampler,
        )  # fmt: skip


def _each(value: float | None, number: int) -> list[float] | None:
    """The value for each video."""
    return None if value is None else [value] * number
