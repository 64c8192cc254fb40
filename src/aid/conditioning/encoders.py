"""Encodes sentences as tokens with the backbone's text tower.

`prepare` encodes a data set's sentences once; `predict` encodes the user's. The tokens are the
DQFormer's t_1 (instruction) and t_2 (states).
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

BATCH = 64


@torch.no_grad()
def encode_sentences(
    tokenizer: Any,
    text_encoder: nn.Module,
    sentences: Sequence[str],
    layer: Literal["last", "penultimate"] = "last",
) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """Tokens of each sentence, and a mask that is True at words, start and end; padding is zero.

    All are padded to the tower's maximum length n (77 in CLIP). Equal sentences are encoded once.

    Args:
        tokenizer: the backbone's CLIP tokenizer.
        text_encoder: the backbone's CLIP text tower.
        sentences: the sentences; "" has a start and an end token only.
        layer: "last" is the tower's output; "penultimate" skips its last layer but not the final
            normalisation, as SD 2.1 does. (SD 2.1's own files lack that layer, so use "last" for
            them.)
    """
    distinct = list(dict.fromkeys(sentences))
    length = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)
    _warn_of_truncation(tokenizer, distinct, length)
    words = tokenizer(
        distinct, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    mask = words["attention_mask"].bool()
    parts = [_tower(text_encoder, ids, layer) for ids in words["input_ids"].split(BATCH)]
    tokens = torch.cat(parts) * mask[..., None].to(parts[0].device)
    number = {sentence: index for index, sentence in enumerate(distinct)}
    order = torch.tensor([number[sentence] for sentence in sentences])
    return tokens[order.to(tokens.device)], mask[order].to(tokens.device)


def _tower(
    text_encoder: nn.Module, ids: Tensor, layer: Literal["last", "penultimate"]
) -> Float[Tensor, "b n d"]:
    """The tower's output. The tower is causal, so padding does not change the words' tokens."""
    output = text_encoder(ids.to(text_encoder.device), output_hidden_states=layer == "penultimate")
    if layer == "last":
        return output.last_hidden_state.float()
    tower = getattr(text_encoder, "text_model", text_encoder)  # differs between versions
    return tower.final_layer_norm(output.hidden_states[-2]).float()


def _warn_of_truncation(tokenizer: Any, sentences: list[str], length: int) -> None:
    ids = tokenizer(sentences, verbose=False)["input_ids"]
    long = [sentence for sentence, own in zip(sentences, ids, strict=True) if len(own) > length]
    if long:
        warnings.warn(
            f"{len(long)} of {len(sentences)} sentences are longer than the text encoder reads "
            f"({length - 2} tokens); their ends are cut off. Shorten this one: {long[0]!r}",
            stacklevel=4,
        )


def join_states(
    tokens: Float[Tensor, "s n d"], mask: Bool[Tensor, "s n"]
) -> tuple[Float[Tensor, "m d"], Bool[Tensor, " m"]]:
    """The tokens of a video's states, concatenated, m = s n; one sentence would exceed 77 tokens.

    A video without states has the empty sentence as its only one (`state_sentences`).
    """
    return tokens.flatten(0, 1), mask.flatten()


def state_sentences(states: Sequence[str]) -> list[str]:
    """The sentences to encode for a video's states: the empty one if there are none."""
    return list(states) or [""]
