"""A model behind an OpenAI-compatible endpoint: plain completions, and chat for rewriting."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cwm_env.errors import PolicyError

_AGAIN = (408, 409, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote."""

    text: str
    """Without the stop that ended it."""
    stopped: bool
    """Whether it came to a stop; False where its tokens ran out."""


class Model(Protocol):
    """Continues text."""

    @property
    def name(self) -> str:
        """What the model is called."""

    def complete(self, prompt: str, stop: Sequence[str], max_tokens: int) -> Completion:
        """Continue ``prompt`` up to the first of ``stop``.

        Raises:
            PolicyError: the endpoint failed.
        """


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server, such as vLLM's. Special tokens travel as their text."""

    url: str
    """Its base, such as ``http://127.0.0.1:8000/v1``."""
    name: str
    """Of the model."""
    key: str = "none"
    timeout: float = 120.0
    """Seconds for one answer."""
    temperature: float = 0.0
    attempts: int = 4
    """Tries of one request, where the server is busy or out of reach."""

    def complete(self, prompt: str, stop: Sequence[str], max_tokens: int) -> Completion:
        """As ``Model.complete``."""
        body = {
            "model": self.name,
            "prompt": prompt,
            "stop": list(stop),
            "max_tokens": max_tokens,
            "temperature": self.temperature,
            "skip_special_tokens": False,  # vLLM's word for leaving them in the answer; others ignore it
        }
        choice = self._ask("completions", body)
        return Completion(str(choice.get("text", "")), choice.get("finish_reason") != "length")

    def chat(self, messages: Sequence[dict[str, str]], max_tokens: int = 4096) -> str:
        """The answer to a conversation.

        Raises:
            PolicyError: the endpoint failed.
        """
        body = {"model": self.name, "messages": list(messages), "max_tokens": max_tokens}
        body["temperature"] = self.temperature
        message = self._ask("chat/completions", body).get("message")
        return str(message.get("content") or "") if isinstance(message, dict) else ""

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.url.rstrip('/')}/{path}"
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        for attempt in range(1, self.attempts + 1):
            request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - the user's own URL
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310
                    found = json.load(answer)["choices"][0]
                if not isinstance(found, dict):
                    raise TypeError("a choice is an object")
                return found
            except urllib.error.HTTPError as error:
                if error.code not in _AGAIN or attempt == self.attempts:
                    detail = error.read(300).decode("utf-8", "replace")
                    raise PolicyError(f"{url} answered {error.code}: {detail}") from None
            except (OSError, TimeoutError) as error:
                if attempt == self.attempts:
                    raise PolicyError(f"{url} is out of reach: {error}") from None
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise PolicyError(f"{url} answered what is no completion: {error!r}") from None
            time.sleep(0.2 * 2**attempt)
        raise AssertionError
