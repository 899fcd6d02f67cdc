"""SWE-bench records: read in every layout, with what is broken in them, and turned into tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_env.errors import RecipeError, TaskError
from cwm_env.images import ImageStore
from cwm_env.paths import cache_dir
from cwm_env.tasks import resolve
from cwm_env.tasks.swebench import Record, keep, kept, kept_ids, load, parse, reported_ids, runner_of, task_of
from cwm_env.tasks.swebench.records import is_id

DATA = Path(__file__).with_name("data") / "swebench.jsonl"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CWM_ENV_CACHE", str(tmp_path / "cache"))


def named(name: str) -> Record:
    return next(record for record in load(DATA) if record.instance_id == name)


def test_every_format_gives_the_same_records(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    rows = [dict(record.raw) for record in load(DATA)]
    (tmp_path / "all.json").write_text(json.dumps(rows))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "all.parquet")
    assert load(tmp_path / "all.json") == load(DATA)
    assert load(tmp_path / "all.parquet") == load(DATA)


def test_lists_written_as_json_in_text_are_read_as_lists() -> None:
    new = named("pallets__flask-5014")
    old = parse({**new.raw, "FAIL_TO_PASS": json.dumps(new.fail_to_pass), "PASS_TO_PASS": json.dumps(new.pass_to_pass)})
    assert (old.fail_to_pass, old.pass_to_pass) == (new.fail_to_pass, new.pass_to_pass)


def test_what_is_broken_in_a_record_is_named() -> None:
    assert not named("pallets__flask-5014").problems
    assert any("truncated" in problem for problem in named("pytest-dev__pytest-7324").problems)
    bare = parse({**named("pallets__flask-5014").raw, "PASS_TO_PASS": []})
    assert bare.problems == ("PASS_TO_PASS is empty: nothing shows that the fix breaks nothing.",)


def test_in_swe_smith_the_patch_is_the_bug() -> None:
    row = {"instance_id": "a__b.1", "repo": "swesmith/a__b", "patch": "x", "FAIL_TO_PASS": ["t.py::a"]}
    row |= {"PASS_TO_PASS": ["t.py::b"], "image_name": "swebench/swesmith.x86_64.a__b", "problem_statement": "It is wrong."}
    found = parse(row)
    assert found.patch_is_bug and found.image == row["image_name"] and not found.problems
    assert not named("pallets__flask-5014").patch_is_bug


FLASK = "pallets__flask-5014"
PLAIN = ("instance_id", "repo", "base_commit", "patch", "test_patch", "problem_statement", "hints_text", "created_at", "version")
LAYOUTS: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    "Lite, full": ((*PLAIN, "environment_setup_commit"), {}),
    "Verified": ((*PLAIN, "environment_setup_commit"), {"difficulty": "<15 min fix"}),
    "Multilingual": (PLAIN, {}),
    "SWE-Gym": (PLAIN, {"created_at": "2023-03-04 18:36:21"}),
    "SWE-rebench": (
        (*PLAIN, "environment_setup_commit"),
        {"meta": {"is_lite": True}, "install_config": {"python": "3.9"}, "environment": "name: x", "license_name": "MIT"},
    ),
    "Live": (PLAIN, {"test_cmds": ["pytest -rA"], "log_parser": "pytest", "pull_number": "5014", "issue_numbers": ["1"]}),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("as_text", [False, True])
def test_the_layouts_of_the_kin_are_read(layout: str, as_text: bool) -> None:
    whole = named(FLASK)
    keys, more = LAYOUTS[layout]
    row: dict[str, object] = {key: whole.raw.get(key, "") for key in keys} | more
    for key in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        row[key] = json.dumps(whole.raw[key]) if as_text else list(whole.raw[key])
    found = parse(row)
    assert (found.fail_to_pass, found.pass_to_pass) == (whole.fail_to_pass, whole.pass_to_pass)
    assert (found.patch, found.test_patch, found.base_commit) == (whole.patch, whole.test_patch, whole.base_commit)
    assert not found.problems and not found.patch_is_bug and dict(found.raw) == row


@pytest.mark.parametrize("row", [[], {"repo": "a/b"}, {"instance_id": "../x", "repo": "a/b", "FAIL_TO_PASS": []}])
def test_a_row_that_is_no_record_is_refused(row: object) -> None:
    with pytest.raises(TaskError):
        parse(row)


def test_a_folder_in_the_hubs_layout_is_read(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "test.jsonl").write_bytes(DATA.read_bytes())
    assert [r.instance_id for r in load(tmp_path / "hub", "test")] == [r.instance_id for r in load(DATA)]


def test_a_kept_record_becomes_a_task(tmp_path: Path) -> None:
    keep(load(DATA))
    task = task_of(kept("pallets__flask-5014"), "docker-daemon:flask:latest", tmp_path)
    assert task.tests.paths == ("/testbed/tests/test_blueprints.py",)
    assert task.tests.fail_to_pass == ("testbed/tests/test_blueprints.py::test_empty_name_not_allowed",)
    with pytest.raises(TaskError, match="tasks import"):
        resolve("swebench:nothing")


def test_without_its_image_a_record_makes_no_episode_and_the_command_that_builds_it_is_named() -> None:
    keep(load(DATA))
    task = resolve("swebench:pallets__flask-5014")
    with pytest.raises(RecipeError, match="cwm-env swebench build --instances pallets__flask-5014"):
        ImageStore().get(task.image)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("[]") | st.just('["a"'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
KEYS = ("instance_id", "repo", "FAIL_TO_PASS", "PASS_TO_PASS", "patch", "test_patch", "version", "image", "datasets")


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
def test_whatever_a_row_holds_it_is_a_record_or_refused_in_a_sentence(wrong: dict[str, object]) -> None:
    row = {**named("pallets__flask-5014").raw, **wrong}
    try:
        found = parse(row)
    except TaskError as error:
        assert str(error)
    else:
        assert is_id(found.instance_id) and all(isinstance(name, str) for name in found.fail_to_pass)
        task_of(found, "image", DATA.parent)


@pytest.mark.parametrize("name", ["../records/x", "/etc/passwd", "..", ".hidden/../x", "a\0b", "x\n"])
def test_a_name_leads_to_no_file_but_a_kept_record(name: str) -> None:
    outside = cache_dir() / "swebench" / "x.json"
    keep(load(DATA))
    outside.write_text(json.dumps(dict(load(DATA)[0].raw)))
    with pytest.raises(TaskError, match="no SWE-bench record"):
        kept(name)


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "a\0b", "x\n", ".", "a b", "-rf", "x" * 300, "\u00e9", ".x"])
def test_a_record_whose_id_is_no_plain_name_is_not_kept(name: str) -> None:
    row = {**named("pallets__flask-5014").raw, "instance_id": name}
    with pytest.raises(TaskError):
        keep([parse(row)])
    places = cache_dir() / "swebench"
    assert not [path for path in places.rglob("*") if path.is_file()]


def test_the_records_names_become_the_ids_that_our_runners_report() -> None:
    django, sympy, cut = map(named, ("django__django-16631", "sympy__sympy-23824", "pytest-dev__pytest-7324"))
    assert (runner_of(django), runner_of(sympy)) == ("unittest", "functions")
    case = "auth_tests.test_basic.TestGetUser.test_get_user"
    older = parse({**django.raw, "FAIL_TO_PASS": ["test_get_user (auth_tests.test_basic.TestGetUser)", "Says so."]})
    assert [reported_ids(older)[name] for name in older.fail_to_pass] == [case, "Says so."]
    assert reported_ids(sympy)["test_kahane_simplify1"].endswith("/test_gamma_matrices.py::test_kahane_simplify1")
    assert reported_ids(cut)["testing/test_mark_expression.py::test_basic[not"].startswith("testbed/testing/")
    progress = parse({**cut.raw, "PASS_TO_PASS": ["[100%]"]})
    assert "[100%]" not in reported_ids(progress)


def test_the_command_keeps_what_is_selected() -> None:
    from click.testing import CliRunner

    from cwm_env.cli.tasks import tasks

    done = CliRunner().invoke(tasks, ["import", "swebench", str(DATA), "--select", "pallets__*", "--json"])
    assert done.exit_code == 0, done.output
    assert kept_ids() == ["pallets__flask-5014"]
