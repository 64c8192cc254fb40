"""Small data and networks for the tests of the methods that read text."""

import torch

from aid.rivals.method import Sizes, Videos
from aid.rivals.seer import Seer, SeerConfig
from aid.rivals.text_to_image import ImageConfig
from aid.rivals.tune_a_video import TuneAVideo, TuneAVideoConfig
from aid.rivals.videofusion import VideoFusion, VideoFusionConfig

SIZES = Sizes(num_frames=4, channels=4, height=8, width=8, text_dim=32, text_length=5)
IMAGE = ImageConfig(channels=(32, 32))
METHODS = {
    "tune-a-video": lambda: TuneAVideo(SIZES, TuneAVideoConfig(image=IMAGE, guidance=3.0)),
    "seer": lambda: Seer(SIZES, SeerConfig(image=IMAGE, decomposer_depth=1, guidance=3.0)),
    "videofusion": lambda: VideoFusion(
        SIZES, VideoFusionConfig(base=IMAGE, residual=IMAGE, guidance=3.0)
    ),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(name, is_awake=False):
    """A method with reproducible weights; awake ones have no layer that is zero."""
    torch.manual_seed(0)
    method = METHODS[name]()
    if is_awake:
        with torch.no_grad():
            for parameter in method.network.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
    return method


def random_batch(batch_size=2, seed=1):
    generator = seeded(seed)
    s = SIZES
    mask = torch.ones(batch_size, s.text_length, dtype=torch.bool)
    mask[:, -2:] = False
    return Videos(
        videos=torch.randn(
            batch_size, s.num_frames, s.channels, s.height, s.width, generator=generator
        ),
        text=torch.randn(batch_size, s.text_length, s.text_dim, generator=generator),
        text_mask=mask,
    )


def fork():
    """Two videos of one first frame: one instruction makes it brighter, the other darker."""
    s, generator = SIZES, seeded(2)
    given = torch.randn(1, 1, s.channels, 1, 1, generator=generator)
    change = torch.linspace(0, 2, s.num_frames)[:, None, None, None]
    videos = given + torch.stack([change, -change])
    return Videos(
        videos=videos.expand(-1, -1, -1, s.height, s.width).contiguous(),
        text=torch.randn(2, s.text_length, s.text_dim, generator=generator),
        text_mask=torch.ones(2, s.text_length, dtype=torch.bool),
    )


def train_only(method, stage):
    """Lets gradients reach what a stage trains and nothing else, as a training loop does."""
    method.network.requires_grad_(False)
    trained = method.trained(stage)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    return trained


def record_inputs(unet):
    """A list that fills with the (sample, text) of each call of a UNet."""
    calls = []

    def hook(module, arguments, keywords):
        calls.append((arguments[0].detach(), keywords["encoder_hidden_states"].detach()))

    unet.register_forward_pre_hook(hook, with_kwargs=True)
    return calls
