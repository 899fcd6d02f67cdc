"""Predictions in each form of the official format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cwm_env.errors import InputError
from cwm_env.swebench import Prediction, load_predictions, write_predictions
from cwm_env.tasks.swebench import Record
from tests.swebench.small import NAME

ONE = {"instance_id": NAME, "model_name_or_path": "m", "model_patch": "p"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps([ONE])),
        ("a.json", json.dumps({NAME: ONE})),
        ("a.json", json.dumps({NAME: {"model_name_or_path": "m", "model_patch": "p"}})),
        ("a.jsonl", json.dumps(ONE) + "\n\n"),
    ],
)
def test_every_form_is_read(name: str, text: str, tmp_path: Path, record: Record) -> None:
    (tmp_path / name).write_text(text)
    assert load_predictions(str(tmp_path / name), [record]) == {NAME: Prediction(NAME, "m", "p")}


def test_what_is_written_is_read_again(tmp_path: Path, record: Record) -> None:
    given = Prediction(NAME, "a/b", None)
    write_predictions(tmp_path / "new" / "p.jsonl", [given])
    assert load_predictions(str(tmp_path / "new" / "p.jsonl"), [record]) == {NAME: given}


def test_predictions_of_other_instances_are_left_out(tmp_path: Path, record: Record) -> None:
    (tmp_path / "p.json").write_text(json.dumps([{**ONE, "instance_id": "another"}]))
    assert load_predictions(str(tmp_path / "p.json"), [record]) == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        "[{}]",
        json.dumps([{**ONE, "model_patch": 3}]),
        json.dumps([{**ONE, "model_name_or_path": ".."}]),
        json.dumps([ONE, ONE]),
    ],
)
def test_what_is_no_prediction_is_refused_in_a_sentence(text: str, tmp_path: Path, record: Record) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError):
        load_predictions(str(tmp_path / "p.json"), [record])
