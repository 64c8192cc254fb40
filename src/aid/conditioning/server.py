"""Language models behind an HTTP server with OpenAI's protocol.

vLLM, SGLang, llama.cpp, Ollama, `transformers serve` and hosted services have it. One endpoint is
used: `POST URL/chat/completions`, with the frame as a PNG in the message. Every exchange is
limited: a deadline for the whole of it, a size limit, a number of tries. The key is sent to one
host only, and redirects are not followed.
"""

import asyncio
import base64
import io
import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

import httpx2
from PIL import Image

from aid.conditioning.answers import printable
from aid.conditioning.language_model import Answer, Question
from aid.conditioning.prompt import conversation
from aid.config import AskingConfig

KEY = "OPENAI_API_KEY"
KEY_GOES_TO = "OPENAI_BASE_URL"
"""The key is sent to the host of this address only. It is the OpenAI client's own variable."""
OFFICIAL = "https://api.openai.com/v1"
MAX_BYTES = 1 << 20
TOKENS_PER_STATE = 64
FAILURES_IN_A_ROW = 3
LONGEST_WAIT = 60.0  # seconds
TEMPORARY = {408, 409, 425, 429}


class StateServerError(RuntimeError):
    """The server does not answer; earlier answers are stored."""


class _TemporaryError(Exception):
    """A failure that the next try may not have."""

    def __init__(self, words: str, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.retry_after = retry_after


class _RefusedError(Exception):
    """The server refuses this question."""


class ServerModel:
    """A model on a server, which gets several questions at a time.

    Args:
        url: the address without `/chat/completions`; it usually ends in `/v1`.
        model: the server's name for the model.
        sends_frames: whether the first frame is part of the question.
        num_states: number of states to ask for.
        config: deadline, number of tries, concurrency.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        sends_frames: bool,
        num_states: int,
        config: AskingConfig,
    ) -> None:
        self.url, self.model = url.rstrip("/"), model
        self.sends_frames, self.num_states, self.config = sends_frames, num_states, config
        self._has_schema = True  # until the server refuses a schema
        self._stopping = threading.Event()
        self._certificates = httpx2.create_ssl_context()

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Each question's index and answer, in the order of arrival.

        Raises:
            ValueError: the server rejects the key or does not know the model.
            StateServerError: several questions in a row could not be answered.
        """
        self._stopping.clear()
        pending: dict[Future, int] = {}
        rest = iter(enumerate(questions))
        failures = 0
        config = self.config
        headers = headers_for(self.url)
        with ThreadPoolExecutor(config.concurrency) as pool:
            try:
                while True:
                    for index, question in islice(rest, config.concurrency - len(pending)):
                        pending[pool.submit(self._answer, headers, question)] = index
                    if not pending:
                        return
                    done, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in sorted(done, key=pending.__getitem__):
                        answer = future.result()
                        failures = failures + 1 if answer.failure else 0
                        if failures == FAILURES_IN_A_ROW:
                            raise StateServerError(
                                f"server {self.url} failed {failures} questions in a row, the last "
                                f"with: {answer.failure}. All answers are stored; repair the "
                                "server and run the same command again."
                            )
                        yield pending.pop(future), answer
            finally:
                self._stopping.set()
                for future in pending:
                    future.cancel()

    def release(self) -> None:
        """Does nothing: the server holds the model."""

    def _answer(self, headers: dict[str, str], question: Question) -> Answer:
        """The answer to one question, after at most `max_tries` tries."""
        failure = ""
        for attempt in range(self.config.max_tries):
            try:
                return Answer(self._try(headers, question, self._has_schema))
            except _RefusedError as error:
                return Answer(failure=str(error))
            except _TemporaryError as error:
                failure = f"{error} (tried {attempt + 1} times)"
                is_last = attempt + 1 == self.config.max_tries
                pause = delay(error.retry_after, attempt, self.config.first_wait)
                if is_last or self._stopping.wait(pause):
                    break
        return Answer(failure=failure)

    def _try(self, sent: dict[str, str], question: Question, has_schema: bool) -> str:
        body = request(question, self.model, self.num_states, self.sends_frames, has_schema)
        status, headers, content = self._post(sent, body)
        if status == 200:
            return _words(content)
        reply = f"{status} {_excerpt(content)}".strip()
        if status in TEMPORARY or status >= 500:
            raise _TemporaryError(f"it answered {reply}", retry_after(headers.get("retry-after")))
        if status in (400, 422) and has_schema:
            text = self._try(sent, question, has_schema=False)
            self._has_schema = False  # the server had refused the schema
            return text
        if status in (400, 413, 415, 422):
            raise _RefusedError(f"it refused the question: {reply}")
        if status in (401, 403):
            raise ValueError(
                f"server {self.url} needs a key ({reply}). {_how_to_send_a_key(self.url)}"
            )
        raise ValueError(
            f"server {self.url} has no chat completions with the model {self.model!r} ({reply}). "
            "Check both: the address usually ends in /v1, and URL/models lists the models."
        )

    def _post(
        self, headers: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, httpx2.Headers, bytes]:
        """One exchange within the deadline, from the look-up of the host to the last byte."""
        try:
            return asyncio.run(asyncio.wait_for(self._exchange(headers, body), self.config.timeout))
        except TimeoutError:
            raise _TemporaryError(f"Timeout: it took more than {self.config.timeout:g} s") from None
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise _TemporaryError(_short(f"{type(error).__name__} {error}")) from None

    async def _exchange(
        self, headers: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, httpx2.Headers, bytes]:
        limits = httpx2.Timeout(None, connect=min(10.0, self.config.timeout))
        # A proxy in the environment must not read requests to this machine.
        uses_proxies = not _is_this_machine(httpx2.URL(self.url).host)
        client = httpx2.AsyncClient(
            timeout=limits, headers=headers, follow_redirects=False, trust_env=uses_proxies,
            verify=self._certificates,
        )  # fmt: skip
        content = bytearray()
        async with (
            client,
            client.stream("POST", f"{self.url}/chat/completions", json=body) as response,
        ):
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > MAX_BYTES:
                    raise _RefusedError(f"it answered more than {MAX_BYTES >> 20} MiB")
        return response.status_code, response.headers, bytes(content)


def headers_for(url: str) -> dict[str, str]:
    """The headers of every request to this address; with the key only for the key's own host.

    Raises:
        ValueError: the key would be sent unencrypted.
    """
    # No compression: a decompressed answer could be thousands of times larger than the limit.
    headers = {"Accept-Encoding": "identity"}
    key = os.environ.get(KEY)
    if not key or not _gets_the_key(url):
        return headers
    target = httpx2.URL(url)
    if target.scheme != "https" and not _is_this_machine(target.host):
        raise ValueError(
            f"{KEY} would be sent unencrypted to {url}. Use an address with https://, a server on "
            f"this machine, or unset {KEY}."
        )
    return headers | {"Authorization": f"Bearer {key}"}


def _gets_the_key(url: str) -> bool:
    """Whether the user's key is for this address: scheme, host and port must be equal."""
    owner, target = (httpx2.URL(one) for one in (os.environ.get(KEY_GOES_TO) or OFFICIAL, url))
    return _origin(owner) == _origin(target)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _how_to_send_a_key(url: str) -> str:
    if not os.environ.get(KEY):
        return f"Set the key and its server: export {KEY}=... {KEY_GOES_TO}={url}"
    if _gets_the_key(url):
        return f"It rejects the key in {KEY}."
    owner = os.environ.get(KEY_GOES_TO) or OFFICIAL
    return (
        f"The key in {KEY} is sent to {owner} only. If it is for this server: "
        f"export {KEY_GOES_TO}={url}"
    )


def request(
    question: Question, model: str, num_states: int, sends_frames: bool, has_schema: bool
) -> dict[str, Any]:
    """The body of a request: greedy decoding, bounded length, a JSON schema if possible."""
    messages: list[dict[str, Any]] = [
        {"role": role, "content": text}
        for role, text in conversation(question.instruction, num_states, sends_frames)
    ]
    if sends_frames:
        file = io.BytesIO()
        Image.fromarray(question.frame).save(file, format="PNG")
        url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        text = messages[-1]["content"]
        messages[-1]["content"] = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": text},
        ]
    body = {
        "model": model,
        "messages": messages,
        "temperature": 0,
        "seed": 0,
        "max_tokens": TOKENS_PER_STATE * num_states,
    }
    if has_schema:
        sentences = {
            "type": "array",
            "items": {"type": "string"},
            "minItems": num_states,
            "maxItems": num_states,
        }
        schema = {
            "type": "object",
            "properties": {"states": sentences},
            "required": ["states"],
            "additionalProperties": False,
        }
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "states", "strict": True, "schema": schema},
        }
    return body


def retry_after(value: str | None) -> float | None:
    """The seconds of a Retry-After header, which is a number or a date; None if it is neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def delay(wanted: float | None, attempt: int, first: float) -> float:
    """Seconds until the next try: the server's value, else a value that doubles with each try.

    The latter varies by a quarter at random, so that several clients do not retry together.
    """
    if wanted is not None:
        return min(wanted, LONGEST_WAIT)
    return min(first * 2**attempt, LONGEST_WAIT) * random.uniform(0.75, 1.25)


def _words(content: bytes) -> str:
    """The text of a chat completion; "" if it has no text.

    Raises:
        _TemporaryError: it is no chat completion, such as a proxy's page or an incomplete answer.
    """
    try:
        message = json.loads(content)["choices"][0]["message"]
        words = message.get("content") or message.get("refusal") or ""
        if isinstance(words, list):
            words = "".join(part.get("text", "") for part in words)
        if isinstance(words, str):
            return words
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        pass
    raise _TemporaryError(f"it answered no chat completion but {_excerpt(content)}")


def _excerpt(content: bytes) -> str:
    return _short(content[:400].decode("utf-8", "replace"))


def _short(words: str) -> str:
    """The text as one short line without control characters."""
    words = " ".join(printable(words).split())
    return words[:120] + "..." if len(words) > 120 else words
