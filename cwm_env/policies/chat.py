"""A language model behind an OpenAI-compatible endpoint (chat completions)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from cwm_env.errors import InputError, PolicyError
from cwm_env.types import Task

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

SYSTEM = """You work in a bash shell on a repository, to do what the user asks for.
Answer each time with one block of bash:

```bash
the commands to run
```

Only the last such block is run, in the same shell as those before it, so that directory and variables stay. You then
see what it printed. Nothing can be typed into a running program. When the work is done, run the command `submit`."""

NO_COMMAND = "# no block of bash was found in the answer"
"""The action that is taken for an answer without one: it does nothing, and costs a turn."""

_BLOCK = re.compile(r"```(?:bash|sh|shell)[ \t]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_RETRIES = 3
_SECONDS = 600.0


def chat_policies(model: str, base_url: str | None) -> Callable[[], ChatPolicy]:
    """A maker of policies that share one client. The key comes from ``$OPENAI_API_KEY``.

    Raises:
        InputError: the extra ``openai`` is not installed, or there is no key.
    """
    if not model:
        raise InputError("the policy openai:MODEL needs the name of a model")
    try:
        from openai import OpenAI
    except ImportError:
        raise InputError("the policy openai:MODEL needs the extra: pip install 'cwm-env[openai]'") from None
    key = os.environ.get("OPENAI_API_KEY")
    if not key and not (base_url or os.environ.get("OPENAI_BASE_URL")):
        raise InputError("set OPENAI_API_KEY to your key, or name an endpoint that needs none by --base-url")
    client = OpenAI(api_key=key or "none", base_url=base_url, max_retries=_RETRIES, timeout=_SECONDS)
    return lambda: ChatPolicy(client, model)


class ChatPolicy:
    """Sends the whole conversation each time; the last block of bash in the answer is the action."""

    def __init__(self, client: OpenAI, model: str) -> None:
        self.name = f"openai:{model}"
        self._client, self._model = client, model

    def begin(self, task: Task) -> None:
        """Start a new conversation."""
        self._messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": SYSTEM}]

    def act(self, observation: str) -> str:
        """Ask the model.

        Raises:
            PolicyError: the endpoint failed.
        """
        self._messages.append({"role": "user", "content": observation})
        answer = self._ask()
        self._messages.append({"role": "assistant", "content": answer})
        blocks: list[str] = _BLOCK.findall(answer)
        return blocks[-1] if blocks else NO_COMMAND

    def _ask(self) -> str:
        import openai

        try:
            completion = self._client.chat.completions.create(model=self._model, messages=self._messages)
        except openai.APIStatusError as error:
            raise PolicyError(f"the endpoint of {self.name} answered {error.status_code}: {error.message}") from error
        except openai.APIError as error:
            raise PolicyError(f"the endpoint of {self.name} cannot be used: {error.message}") from error
        if not completion.choices:
            raise PolicyError(f"the endpoint of {self.name} answered without a choice")
        return (completion.choices[0].message.content or "").encode("utf-8", "replace").decode()
