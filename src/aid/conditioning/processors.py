"""What turns a frame and words into a language model's input, with no more than that needs.

The processors of LLaVA-OneVision and Qwen-VL also take videos, and the part that does needs
torchvision. We only ever show one frame, so without torchvision that part is left out.
"""

from typing import Any


def load_processor(name: str, **source: Any) -> Any:
    """The processor of a vision-language model.

    Args:
        name: on the Hugging Face hub, or a folder.
        source: `revision`, as transformers takes it.

    Raises:
        ImportError: it needs a package that is not installed, and for frames, too.
    """
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(name, **source)
    except (ImportError, ValueError) as error:  # it is either, by which part is missing
        if "torchvision" not in str(error).lower():
            raise
        return _for_frames(name, **source)


def _for_frames(name: str, **source: Any) -> Any:
    """The model's own processor without the part for videos."""
    from transformers import PROCESSOR_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(name, **source)
    whole = PROCESSOR_MAPPING.get(type(config), None)
    if whole is None or "video_processor" not in whole.get_attributes():
        raise ImportError("its pictures are prepared by torchvision, which is not installed")
    parts = [part for part in whole.get_attributes() if part != "video_processor"]

    class ForFrames(whole):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return parts

    return ForFrames.from_pretrained(name, **source)
