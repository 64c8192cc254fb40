"""The denoiser: frozen Stable Video Diffusion with AID's trained parts, in Karras's coordinates.

The one object that training and prediction share. `train` calls `loss`; `predict` passes
`guided_denoise` to the sampler; `checkpoint.py` saves and loads the trained part.

Reference: AID, method; Karras et al. 2022, Eq. 7; SVD for preconditioning and micro-conditions.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from aid.config import ModelConfig, SamplerConfig
from aid.diffusion.edm import Scalings, add_noise, edm_loss, motion_weights, over_latents
from aid.diffusion.guidance import guidance_weights, guide
from aid.models.conditions import Conditions, TextTokens
from aid.models.dqformer import Context, DQFormer
from aid.models.insertion import HALF, Insertion

__all__ = ["Conditions", "Context", "Denoiser", "TextTokens", "guided_denoise"]


class Denoiser(nn.Module):
    """D(x; sigma), the clean latents that noisy latents and conditions point to.

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)                    (Karras et al. 2022, Eq. 7)

    F is SVD's UNet with AID's adapters and trained cross-attention; its `context` (MCondition)
    comes from the DQFormer. The UNet is frozen and its state dict untouched; everything trained is
    in `trained`, in float32, under the groups "dqformer", "adapters", "cross_attention", "lora" and
    "weights".

    Args:
        unet: SVD's, from `load_backbone`; AID's trained parts are attached to it from here on.
        text_dim: width of the text encoder's tokens.
        image_dim: width of the image encoder's tokens.
        config: what AID's part looks like.
    """

    def __init__(self, unet: nn.Module, text_dim: int, image_dim: int, config: ModelConfig):
        super().__init__()
        self.config, self.text_dim, self.image_dim = config, text_dim, image_dim
        self.unet = unet.requires_grad_(False).eval()
        self.insertion = Insertion(unet, config)
        self.trained = nn.ModuleDict(
            {
                "adapters": self.insertion.adapters,
                "cross_attention": self.insertion.cross_attention,
            }
        )
        if config.lora.rank:
            self.trained["lora"] = self.insertion.lora.trained
        if config.unet_weights != "none":
            self.trained["weights"] = self.insertion.weights.trained
        if self.reads_text:
            self.trained["dqformer"] = DQFormer(
                text_dim,
                image_dim,
                unet.config.cross_attention_dim,
                config.num_frames,
                config.dqformer,
            )

    @property
    def reads_text(self) -> bool:
        """Whether a DQFormer exists; without it the UNet reads SVD's image token only."""
        return self.config.dqformer.branches != "none"

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the frozen weights are stored, and in which the UNet computes."""
        return self.unet.conv_in.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where it computes; an offloaded UNet is elsewhere between calls (`backbone.offload`)."""
        hook = getattr(self.unet, "_hf_hook", None)
        return self.unet.device if hook is None else torch.device(hook.execution_device)

    def _frozen_arithmetic(self) -> AbstractContextManager:
        """A UNet in half precision runs exactly as the stock one, whatever autocast is around."""
        if self.dtype not in HALF:
            return nullcontext()
        if self.config.unet_weights != "none":  # float32 weights among the half-precision ones
            return torch.autocast(self.device.type, self.dtype)
        return torch.autocast(self.device.type, enabled=False)

    def train(self, mode: bool = True) -> "Denoiser":
        """As usual, except that the frozen UNet stays in evaluation mode."""
        super().train(mode)
        self.unet.eval()
        return self

    def context(self, conditions: Conditions) -> Context | None:
        """MCondition, the keys and values of cross-attention; the same for all noise levels."""
        if not self.reads_text:
            return None
        text = conditions.text
        if text is None:
            raise ValueError(
                f"dqformer.branches={self.config.dqformer.branches!r} reads an instruction, but "
                "the conditions have text=None. Give them TextTokens, or use branches='none'."
            )
        made = self.trained["dqformer"](
            conditions.num_frames,
            text.instruction_tokens,
            text.instruction_mask,
            text.state_tokens,
            text.state_mask,
            conditions.image_tokens,
        )
        if not self.config.cross_attention.prepend_image_token:
            return made
        readable = made.shared_mask.new_ones(len(conditions), 1)
        return replace(
            made,
            shared=torch.cat(
                [conditions.image_embedding.to(made.shared.dtype), made.shared], dim=1
            ),
            shared_mask=torch.cat([readable, made.shared_mask], dim=1),
        )

    def model_output(
        self,
        noisy_latents: Float[Tensor, "b f c h w"],
        sigma: Float[Tensor, " b"],
        conditions: Conditions,
        context: Context | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """The output of the raw network, F(c_in x; c_noise), trained to predict v.

        Args:
            noisy_latents: x = x_0 + sigma n.
            sigma: noise level of each sample.
            conditions: c_V and c_T of the videos.
            context: `self.context(conditions)` if already at hand.
        """
        context = self.context(conditions) if context is None else context
        scalings = Scalings.at(sigma)
        scaled = over_latents(scalings.c_in) * noisy_latents
        both = torch.cat([scaled, conditions.condition_latents], dim=2)  # b f 2c h w
        with self._frozen_arithmetic(), self.insertion.reading(context):
            return self.unet(
                both.to(self.dtype),
                scalings.c_noise,
                encoder_hidden_states=conditions.image_embedding.to(self.dtype),
                added_time_ids=conditions.added_time_ids,
                return_dict=False,
            )[0].float()

    def forward(
        self,
        noisy_latents: Float[Tensor, "b f c h w"],
        sigma: Float[Tensor, " b"],
        conditions: Conditions,
        context: Context | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """The denoised latents D(x; sigma). Arguments as for `model_output`."""
        scalings = Scalings.at(sigma)
        output = self.model_output(noisy_latents, sigma, conditions, context)
        return over_latents(scalings.c_skip) * noisy_latents + over_latents(scalings.c_out) * output

    def loss(
        self,
        latents: Float[Tensor, "b f c h w"],
        noise: Float[Tensor, "b f c h w"],
        sigma: Float[Tensor, " b"],
        conditions: Conditions,
        motion_weight: float = 0.0,
        huber_scale: float = 0.0,
    ) -> Float[Tensor, " b"]:
        """The loss of every sample (`diffusion.edm.edm_loss`), given frames counted or not.

        `motion_weight` is the strength of `diffusion.edm.motion_weights`, `huber_scale` that of
        `pseudo_huber`; 0 leaves them out.
        """
        output = self.model_output(add_noise(latents, noise, sigma), sigma, conditions)
        weights = None
        if not self.config.condition.loss_on_given_frames:
            weights = torch.ones(latents.shape[1], device=latents.device)
            weights[: self.config.condition.num_given_frames] = 0
        places = motion_weights(latents, motion_weight) if motion_weight else None
        return edm_loss(output, latents, noise, sigma, weights, places, huber_scale)

    def null_text(self, empty: TextTokens | None) -> TextTokens | None:
        """The tokens of a dropped instruction: `empty`, or None for zeros (`condition.null_text`).

        Raises:
            ValueError: the empty sentence's tokens are needed and were not given.
        """
        if not self.reads_text or self.config.condition.null_text == "zeros":
            return None
        if empty is None:
            raise ValueError(
                "condition.null_text='empty' needs the tokens of the empty sentence, got None. "
                "Encode '' with the text encoder, or use condition.null_text='zeros'."
            )
        return empty

    def enable_gradient_checkpointing(self, levels: int | None = None) -> None:
        """Saves memory for time: the backward pass recomputes the UNet's activations.

        Args:
            levels: only the first so many resolutions, whose activations are the largest.
        """
        self.insertion.enable_gradient_checkpointing(levels)

    def trainable_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The trained tensors, grouped as their learning rates are."""
        names = ("dqformer", "adapters", "cross_attention", "lora", "weights")
        return {n: list(self.trained[n].parameters()) if n in self.trained else [] for n in names}

    def trained_state_dict(self) -> dict[str, Tensor]:
        """The trained tensors by stable names, none of the backbone's."""
        return self.trained.state_dict()

    def load_trained_state_dict(self, state: dict[str, Tensor]) -> None:
        """Loads trained tensors.

        Raises:
            ValueError: names or shapes differ from this model's in any way.
        """
        self.check_trained(state)
        self.trained.load_state_dict(state)

    def check_trained(self, state: dict[str, Tensor]) -> None:
        """Compares names and shapes with this model's.

        Raises:
            ValueError: they differ in any way.
        """
        own = self.trained.state_dict()
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unexpected:
            raise ValueError(
                f"trained weights do not fit: missing {_some(missing)}; unexpected "
                f"{_some(unexpected)}. Build the denoiser with the config they were trained with."
            )
        for name, tensor in state.items():
            if tensor.shape != own[name].shape:
                raise ValueError(
                    f"trained weights do not fit: {name} has shape {tuple(tensor.shape)}, here "
                    f"{tuple(own[name].shape)}. Use the config they were trained with."
                )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5]) or "none"
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


@torch.no_grad()
def guided_denoise(
    denoiser: Denoiser,
    conditions: Conditions,
    null_text: TextTokens | None,
    config: SamplerConfig,
) -> Callable[[Float[Tensor, "b f c h w"], Float[Tensor, " b"]], Float[Tensor, "b f c h w"]]:
    """The function `(noisy_latents, sigma) -> denoised` for the sampler, with dual guidance.

    See `diffusion.guidance` for the formula. The predictions run as one batch; those of weight 0
    are left out. Their contexts are computed here, once for all steps. A denoiser that reads no
    text has guidance on the image only.

    Args:
        denoiser: makes the predictions.
        conditions: the full ones, c_V and c_T.
        null_text: the empty sentence's tokens; may be None if `condition.null_text` is "zeros".
        config: guidance weights and the noise levels at which guidance acts.
    """
    text_guidance = config.text_guidance if denoiser.reads_text else config.image_guidance
    weights = guidance_weights(config.image_guidance, text_guidance)
    image_only = conditions.without_text(denoiser.null_text(null_text))
    each = (image_only.without_image(), image_only, conditions)
    needed = [(weight, part) for weight, part in zip(weights, each, strict=True) if weight != 0]
    weights, batch = [weight for weight, _ in needed], Conditions.cat([part for _, part in needed])
    batch_context, full_context = denoiser.context(batch), denoiser.context(conditions)
    low, high = config.guidance_interval

    @torch.no_grad()
    def denoise(
        noisy_latents: Float[Tensor, "b f c h w"], sigma: Float[Tensor, " b"]
    ) -> Float[Tensor, "b f c h w"]:
        if not low <= float(sigma[0]) <= high:
            return denoiser(noisy_latents, sigma, conditions, full_context)
        x = repeat(noisy_latents, "b ... -> (p b) ...", p=len(weights))
        denoised = denoiser(x, sigma.repeat(len(weights)), batch, batch_context)
        return guide(denoised.chunk(len(weights)), weights)

    return denoise
