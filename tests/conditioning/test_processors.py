"""Models whose processors also read videos, which needs torchvision; one frame does not."""

import json
from importlib.util import find_spec

import pytest
import torch
from language_models import FRAMES, tiny_tokenizer
from transformers import (
    Cohere2VisionConfig,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from aid.conditioning.language_model import Question
from aid.conditioning.local_model import LocalModel, load_processor
from aid.conditioning.states import choose_state_writer

PARTS = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """A Qwen2-VL of two layers with random weights, in the layout of the real ones."""
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = tiny_tokenizer(*PARTS)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    start, image, end, video = (tokenizer.convert_tokens_to_ids(name) for name in PARTS)
    pixels = Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, min_pixels=256, max_pixels=1024)
    pixels.save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text()) | {"processor_class": "Qwen2VLProcessor"}
    file.write_text(json.dumps(settings))
    config = Qwen2VLConfig(
        vision_config={
            "depth": 1, "embed_dim": 32, "num_heads": 2, "hidden_size": 32, "patch_size": 4,
            "mlp_ratio": 2,
        },
        text_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(tokenizer),
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2],
                                "rope_theta": 10000.0},
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        },
        image_token_id=image, video_token_id=video, vision_start_token_id=start,
        vision_end_token_id=end,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2VLForConditionalGeneration(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)  # so that every input changes what is said
        model.save_pretrained(folder)
    return folder


def test_a_qwen_vl_answers_from_frame_and_words_in_batches_of_any_size(qwen):
    """Its weights are random: what it says is nonsense, but nonsense about what it was shown."""
    asked = [Question(said, FRAMES[colour]) for colour in FRAMES for said in ("push it", "lift it")]
    said = {}
    for size in (1, 4):
        model = LocalModel(str(qwen), sees="first_frame", num_states=1, batch_size=size)
        said[size] = [answer.text for _, answer in model.ask(asked)]
    assert said[1] == said[4]
    assert len(set(said[1])) == 4, "each frame and each instruction has a say"


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="is about its absence")
def test_the_video_part_is_left_out_and_the_rest_is_that_of_transformers(qwen):
    processor = load_processor(str(qwen))
    assert processor.__class__.__mro__[1].__name__ == "Qwen2VLProcessor"
    assert not hasattr(processor, "video_processor")
    assert processor.image_processor.patch_size == 4


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="is about its absence")
def test_a_model_whose_images_need_torchvision_names_what_to_install(tmp_path):
    tiny_tokenizer("<image>").save_pretrained(tmp_path)
    Cohere2VisionConfig().save_pretrained(tmp_path)
    settings = {"image_processor_type": "Cohere2VisionImageProcessor"}
    settings["processor_class"] = "Cohere2VisionProcessor"
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"pip install 'aid-video\[vlm\]'"):
        choose_state_writer(f"vlm:{tmp_path}").write([FRAMES["red"]], ["push it"])
