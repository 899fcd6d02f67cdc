"""Models are scored over a real connection: recorded answers are right, perturbed ones are wrong where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cwm_env.errors import PolicyError
from cwm_env.tracing import Trace, trace
from cwm_env.tracing.datasets.rewriting import rewrite, show
from cwm_env.tracing.halting_programs import generate
from cwm_env.tracing.judging.baselines import Constant, Oracle
from cwm_env.tracing.judging.endpoint import Endpoint
from cwm_env.tracing.judging.evaluation import MEASURES, Scores, evaluate, split_call
from cwm_env.tracing.judging.prediction import predict_trace
from tests.tracing.serving import serving

SOURCES = [
    ("def f(a, b):\n    c = a + b\n    d = [c]\n    d.append(a)\n    return d\n", (1, 2)),
    ("def f(s):\n    t = s.upper()\n    for i in range(2):\n        t += str(i)\n    return t\n", ("ab",)),
    ("def g(x):\n    return x * 2\ndef f(x):\n    y = g(x)\n    return y == 4\n", (2,)),
]


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return [trace(source, args=args, in_process=True) for source, args in SOURCES]


def run(source: str, call: str) -> Trace:
    return trace(source, call=call, in_process=True)


def through_http(
    traces: Sequence[Trace], change: Callable[[str], str], programs: Sequence[Any] = ()
) -> tuple[Scores, list[dict[str, Any]]]:
    oracle, seen = Oracle(traces, programs), []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        seen.append(body)
        assert path == "/v1/completions"
        found = oracle.complete(body["prompt"], body["stop"], body["max_tokens"])
        return 200, {"choices": [{"text": change(found.text), "finish_reason": "stop" if found.stopped else "length"}]}

    with serving(answer) as url:
        return evaluate(Endpoint(url, "m"), traces, programs=programs, run=run), seen


def test_recorded_answers_score_one_everywhere(traces: list[Trace]) -> None:
    programs = generate(10, seed=1)
    scores, seen = through_http(traces, lambda text: text, programs)
    assert {name: rate.right for name, rate in scores.rates.items()} == {n: r.of for n, r in scores.rates.items()}
    assert all(rate.of for rate in scores.rates.values()) and set(scores.rates) == set(MEASURES)
    assert all(body["model"] == "m" and body["skip_special_tokens"] is False for body in seen)
    assert evaluate(Oracle(traces, programs), traces, programs=programs, run=run).rates == scores.rates


def test_a_wrong_state_costs_the_state_alone(traces: list[Trace]) -> None:
    scores, _ = through_http(traces, lambda text: text.replace('"d": "[3]"', '"d": "[4]"'))
    rates = scores.rates
    assert rates["format"].right == rates["format"].of and rates["action"].right == rates["action"].of
    assert rates["state"].of - rates["state"].right == 1 == rates["exact"].of - rates["exact"].right


def test_a_wrong_line_costs_the_action(traces: list[Trace]) -> None:
    scores, _ = through_http(traces[:1], lambda text: text.replace("    d.append(a)\n", "    d.append(b)\n"))
    assert scores.rates["action"].of - scores.rates["action"].right == 1


def test_spelling_that_means_the_same_is_not_exact_but_right(traces: list[Trace]) -> None:
    scores, _ = through_http(traces[:1], lambda text: text.replace('": "', '":"'))
    assert scores.rates["state"].right == scores.rates["state"].of > scores.rates["exact"].right


def test_broken_text_costs_the_format(traces: list[Trace]) -> None:
    scores, _ = through_http(traces, lambda text: text.replace("<|action_sep|>", ""))
    assert scores.rates["format"].right < scores.rates["format"].of
    assert scores.rates["trace"].right == 0


def test_the_constant_baseline_is_below_the_oracle(traces: list[Trace]) -> None:
    programs = generate(10, seed=1)
    constant = evaluate(Constant(), traces, programs=programs, run=run).rates
    assert constant["format"].right == constant["format"].of
    assert constant["exact"].right < constant["exact"].of and constant["output"].right == 0
    assert constant["halting"].right * 2 == constant["halting"].of


def test_predicted_arguments_count_if_they_give_the_value(traces: list[Trace]) -> None:
    scores, _ = through_http(traces[2:], lambda text: text.replace('{"x": "2"}', '{"x": "2.0"}'))
    assert scores.rates["input"].right == 1  # 2.0 * 2 == 4 as well
    scores, _ = through_http(traces[2:], lambda text: text.replace('{"x": "2"}', '{"x": "3"}'))
    assert (scores.rates["input"].right, scores.rates["input"].of) == (0, 1)


def test_the_call_is_hidden_where_the_input_is_asked_for(traces: list[Trace]) -> None:
    split = split_call(traces[0])
    assert split is not None and "main" not in split[0] and split[1] == "f" and split[2].value == "[3, 1]"


def test_a_predicted_trace_keeps_the_frames_that_can_be_read(traces: list[Trace]) -> None:
    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        text = traces[0].to_cwm()[len(body["prompt"]) :]
        return 200, {"choices": [{"text": text[: len(text) // 2], "finish_reason": "length"}]}

    with serving(answer) as url:
        found = predict_trace(Endpoint(url, "m"), traces[0].context)
    assert 0 < len(found.trace.frames) < len(traces[0].frames)
    assert found.trace.frames == traces[0].frames[: len(found.trace.frames)]
    assert found.error and not found.trace.complete


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [(401, b"no key", "answered 401: no key"), (200, b"{}", "no completion"), (200, b"<html>", "no completion")],
)
def test_an_endpoint_that_fails_is_the_policys_failure(status: int, body: bytes, words: str) -> None:
    with serving(lambda path, request: (status, body)) as url, pytest.raises(PolicyError, match=words):
        Endpoint(url, "m").complete("x", [], 10)


def test_a_busy_endpoint_is_asked_again() -> None:
    calls = []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        calls.append(path)
        return (503, b"") if len(calls) == 1 else (200, {"choices": [{"text": "a", "finish_reason": "stop"}]})

    with serving(answer) as url:
        assert Endpoint(url, "m").complete("x", [], 10).text == "a"
    with pytest.raises(PolicyError, match="out of reach"):
        Endpoint(url, "m", attempts=1).complete("x", [], 10)


def test_a_telling_with_another_value_is_dropped(traces: list[Trace]) -> None:
    tellings = iter(["It adds.\n\n**Final value:** `[3,1]`", "It adds.\nFinal value: [3, 2]", "It adds."])
    seen: list[dict[str, Any]] = []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        seen.append(body)
        return 200, {"choices": [{"message": {"content": next(tellings)}}]}

    with serving(answer) as url:
        found = [rewrite(traces[0], Endpoint(url, "m")).refused for _ in range(3)]
    assert found == ["", "wrong-value", "no-value"]
    assert show(traces[0]) in seen[0]["messages"][1]["content"] and "START_OF_TRACE" not in show(traces[0])
