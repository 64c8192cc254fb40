"""Ways to adapt the backbone, each as settings of the same model, so that they can be compared."""

from dataclasses import replace
from typing import Literal

from aid.config.model import AdapterConfig, CrossAttentionConfig, LoraConfig, ModelConfig

Tuning = Literal["aid", "lora", "cross_attention", "temporal", "full"]
RANK = 16


def tuned(model: ModelConfig, tuning: Tuning) -> ModelConfig:
    """The model's settings with the backbone adapted in one of five ways; the DQFormer stays.

    - "aid": unchanged: adapters and trained cross-attention.
    - "lora": low-rank updates of all attention projections, of `model.lora.rank` (16 if that is 0).
    - "cross_attention": all of cross-attention, spatial and temporal.
    - "temporal": every temporal layer of the UNet.
    - "full": every weight of the UNet.
    """
    if tuning == "aid":
        return model
    adapter = AdapterConfig(use_spatial=False, use_short_term=False, use_long_term=False)
    is_cross = tuning == "cross_attention"
    cross_attention = replace(
        CrossAttentionConfig(prepend_image_token=model.cross_attention.prepend_image_token),
        trained="all" if is_cross else "none",
        train_temporal=is_cross,
    )
    rank = (model.lora.rank or RANK) if tuning == "lora" else 0
    weights = {"temporal": "temporal", "full": "all"}.get(tuning, "none")
    return replace(
        model,
        adapter=adapter,
        cross_attention=cross_attention,
        lora=replace(model.lora, rank=rank) if tuning == "lora" else LoraConfig(),
        unet_weights=weights,
    )
