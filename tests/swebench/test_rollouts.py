"""A model behind a real endpoint works on an instance: a trajectory, and a prediction that can be evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwm_env.envs import BashEnv
from cwm_env.policies import Rollouts, make_policy
from cwm_env.swebench import Evaluator, load_predictions
from cwm_env.swebench.rollouts import predictions_of, rollout_task
from cwm_env.tasks.swebench import Record
from cwm_env.trajectories import TrajectoryStore
from tests.policies.endpoint import serve
from tests.swebench.small import FIXED, NAME, write_recipe

SAYS = [f"```bash\ncat > pkg/__init__.py <<'EOF'\n{FIXED}EOF\n```", "```bash\nsubmit\n```"]


def play(record: Record, place: Path, answers: list[str], turns: int | None = None) -> TrajectoryStore:
    image = str(write_recipe(place / "small"))
    store = TrajectoryStore(place / "trajectories.jsonl")
    with serve(lambda messages: answers[sum(each["role"] == "assistant" for each in messages)]) as (url, requests):
        makes = make_policy("openai:some", base_url=url)
        Rollouts([rollout_task(record, image)], lambda task: BashEnv(task, turns=turns), makes, keep=store.append).run()
        assert record.problem_statement in str(requests[0]["body"]["messages"])
    return store


def test_a_model_that_repairs_it_has_a_prediction_that_is_resolved(
    record: Record, tmp_path: Path, evaluator: Evaluator
) -> None:
    pytest.importorskip("openai")
    assert evaluator.evaluate(record, load_predictions("gold", [record])[NAME]).hardened.outcome == "resolved"
    store = play(record, tmp_path, SAYS)  # the reward counts what that has seen of the gold fix
    (trajectory,) = store
    assert trajectory.reward == 1.0 and trajectory.task_id == f"swebench:{NAME}"
    prediction = predictions_of(store, "some")[NAME]
    assert prediction.patch is not None and "x / 2" in prediction.patch
    found = evaluator.evaluate(record, prediction)
    assert (found.official.outcome, found.hardened.outcome) == ("resolved", "resolved")


def test_an_episode_that_runs_out_of_turns_predicts_what_is_there(record: Record, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    store = play(record, tmp_path, [SAYS[0], "```bash\ntrue\n```", "```bash\ntrue\n```"], turns=2)
    patch = predictions_of(store, "some")[NAME].patch
    assert patch is not None and "x / 2" in patch


def test_an_episode_that_the_endpoint_failed_predicts_nothing(record: Record, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    store = TrajectoryStore(tmp_path / "trajectories.jsonl")
    image = str(write_recipe(tmp_path / "small"))
    with serve(lambda _: (404, {"error": {"message": "no such model"}})) as (url, _):
        makes = make_policy("openai:some", base_url=url)
        Rollouts([rollout_task(record, image)], lambda task: BashEnv(task), makes, keep=store.append).run()
    assert [each.failure for each in store] == ["policy"]
    assert predictions_of(store, "some") == {}
