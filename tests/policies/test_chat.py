"""A model behind an OpenAI-compatible endpoint: its answers are actions, its failures are typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cwm_env.errors import InputError, PolicyError
from cwm_env.policies import make_policy
from cwm_env.policies.chat import NO_COMMAND
from cwm_env.types import HiddenTests, Task
from tests.policies.endpoint import serve

TASK = Task("t", "Fix it.", "none", HiddenTests(Path("none"), "pytest"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("```bash\nls\n```", "ls\n"),
        ("Thinking.\n```bash\nls\n```\nThen\n```sh\ncat <<'E'\n\tx\nE\n```\ndone", "cat <<'E'\n\tx\nE\n"),
        ("```python\nprint()\n```", NO_COMMAND),
        ("no block", NO_COMMAND),
        ("", NO_COMMAND),
        ("```bash\nunclosed", NO_COMMAND),
    ],
)
def test_the_last_block_of_bash_is_the_action(answer: str, action: str) -> None:
    with serve(lambda messages: answer) as (url, _):
        policy = make_policy("openai:m", base_url=url)()
        policy.begin(TASK)
        assert policy.act("observation") == action


def test_the_whole_conversation_and_the_key_are_sent() -> None:
    with serve(lambda messages: "```bash\necho x\n```") as (url, requests):
        policy = make_policy("openai:some/model", base_url=url)()
        policy.begin(TASK)
        policy.act("first")
        policy.act("second")
        policy.begin(TASK)
        policy.act("new episode")
    assert requests[1]["path"] == "/v1/chat/completions"
    assert requests[1]["body"]["model"] == "some/model"
    assert requests[1]["headers"]["authorization"] == "Bearer secret"
    roles = [message["role"] for message in requests[1]["body"]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert [m["content"] for m in requests[2]["body"]["messages"][1:]] == ["new episode"]


def test_a_refused_key_is_a_typed_error() -> None:
    with serve(lambda messages: (401, {"error": {"message": "bad key"}})) as (url, requests):
        policy = make_policy("openai:m", base_url=url)()
        policy.begin(TASK)
        with pytest.raises(PolicyError, match="answered 401"):
            policy.act("x")
    assert len(requests) == 1


def test_an_endpoint_that_fails_once_is_asked_again() -> None:
    answers: Iterator[tuple[int, dict[str, Any]] | str] = iter([(500, {}), "```bash\nls\n```"])
    with serve(lambda messages: next(answers)) as (url, _):
        policy = make_policy("openai:m", base_url=url)()
        policy.begin(TASK)
        assert policy.act("x") == "ls\n"


def test_an_endpoint_that_is_not_there_is_a_typed_error() -> None:
    with serve(lambda messages: "") as (url, _):
        pass
    policy = make_policy("openai:m", base_url=url)()
    policy.begin(TASK)
    with pytest.raises(PolicyError, match="cannot be used"):
        policy.act("x")


@pytest.mark.parametrize(
    ("spec", "base_url", "says"),
    [
        ("nosuch", None, "there is no policy 'nosuch'"),
        ("openai:", None, "needs the name of a model"),
        ("gold", "http://127.0.0.1:1", "a base URL goes with"),
    ],
)
def test_a_policy_that_does_not_exist_is_refused(spec: str, base_url: str | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_policy(spec, base_url=base_url)


def test_without_a_key_openai_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InputError, match="set OPENAI_API_KEY"):
        make_policy("openai:m")


def test_a_script_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        make_policy(str(tmp_path / "s"))
