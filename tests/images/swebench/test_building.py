"""Images of instances, built without a registry: the commit alone, in the environment that its record asks for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cwm_env.cli.swebench import swebench
from cwm_env.envs import BashEnv
from cwm_env.errors import ImageError, RecipeError
from cwm_env.images import ImageStore
from cwm_env.images.swebench import orders
from cwm_env.images.swebench.building import ask, build, build_all
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.swebench import Evaluator, Official, load_predictions
from cwm_env.tasks.swebench import Record, keep
from cwm_env.types import Image
from tests.images.conftest import Inside, text
from tests.images.swebench.small import INSTALL, make_mirror, record, record_with_tests

CONDA = "/opt/miniconda3"
pytestmark = pytest.mark.timeout(1800)  # packages come from the index, and machines are shared
PINNED = """name: testbed
dependencies:
  - openssl=3.0.15=h5eee18b_0
  - pip=25.2=pyh8b19718_1
  - python={python}.1=h4a871b0_2_cpython
  - six=1.16.0=pyh6c4a22f_0
  - no-such-package-of-anybody-2=1.0=py311h06a4308_0
  - pip:
      - doubling==2.0
      - iniconfig==2.0.0
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of these tests' own: records are kept there, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CWM_ENV_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the mirror."""
    return tmp_path_factory.mktemp("mirrors")


@pytest.fixture(scope="module")
def commit(mirrors: Path) -> str:
    """The base commit."""
    return make_mirror(mirrors)


@pytest.fixture(scope="module")
def shared(cache: None) -> ImageStore:
    """The store of these tests."""
    return ImageStore()


@pytest.fixture(scope="module")
def kept_record(commit: str, cache: None) -> Record:
    """A record, which is kept."""
    made = record(commit)
    keep([made])
    return made


@pytest.fixture(scope="module")
def built(shared: ImageStore, mirrors: Path, kept_record: Record) -> Image:
    """Its image."""
    return build(shared, ask(kept_record, mirrors, None))


def test_the_image_is_found_by_the_records_id(shared: ImageStore, built: Image) -> None:
    assert shared.find("swebench:example__doubling-1") == built
    assert (built.name, built.workdir, built.user) == ("swebench:example__doubling-1", "/testbed", "root")


def test_the_repository_is_the_commit_itself_and_nothing_else_of_its_history(
    built: Image, inside: Inside, commit: str
) -> None:
    assert text(inside(built, "git rev-parse HEAD; git rev-list --all --count")).split() == [commit, "1"]
    assert text(inside(built, "git remote; git tag; git status --porcelain; git diff; git stash list")) == ""
    assert "doubling.py" not in text(inside(built, "git show")), "the one commit is shown as if it made every file"
    kinds = text(inside(built, "git cat-file --batch-all-objects --batch-check")).split()[1::3]
    assert kinds.count("commit") == 1 and "tag" not in kinds


def test_an_episodes_shell_finds_the_environment_without_activating_it(built: Image, inside: Inside) -> None:
    look = "import doubling, six, toolz, iniconfig, sys; print(sys.prefix, doubling.double(2), toolz.__version__)"
    assert text(inside(built, f'python -c "{look}"')).split() == [f"{CONDA}/envs/testbed", "5", "1.0.0"]


def test_the_official_script_runs_unchanged_and_without_network(
    built: Image, inside: Inside, kept_record: Record
) -> None:
    done = inside(built, f"cat > /tmp/eval.sh <<'EOF_'\n{kept_record.eval_script}EOF_\nbash /tmp/eval.sh 2>&1")
    said = text(done)
    assert "Successfully installed doubling-1.5" in said
    assert f"3 {CONDA}/envs/testbed/bin/python" in said
    assert "nothing to commit, working tree clean" in said


def test_what_is_built_is_judged_by_both_verdicts(
    shared: ImageStore, built: Image, mirrors: Path, commit: str, backend: NamespacesBackend, tmp_path: Path
) -> None:
    judged = record_with_tests(mirrors, commit, 7)
    image = build(shared, ask(judged, mirrors, None))
    with Official() as official:
        evaluator = Evaluator(tmp_path, "built", backend=backend, images=lambda _: image, official=official)
        for source, outcome, passed in (("gold", "resolved", 1), ("empty", "unresolved", 0)):
            prediction = load_predictions(source, [judged])[judged.instance_id]
            found = evaluator.evaluate(judged, prediction)
            for verdict in (found.official, found.hardened):
                assert verdict.outcome == outcome, found
                assert (verdict.fail_to_pass, verdict.pass_to_pass) == ((passed, 1), (1, 1)), found


def test_what_the_set_up_changes_stays_and_is_no_change(built: Image, inside: Inside) -> None:
    assert text(inside(built, "cat tox.ini; git status --porcelain")).split() == ["[pytest:edited]"]
    assert "[pytest]" in text(inside(built, "git checkout -q HEAD tox.ini; cat tox.ini"))


def test_every_user_can_read_the_repository(built: Image, inside: Inside) -> None:
    assert text(inside(built, "cat doubling.py; python -c 'import doubling'", user="nobody"))


def test_an_order_says_what_was_pinned_and_what_could_not_be_had(shared: ImageStore, built: Image) -> None:
    order = orders.find("example__doubling-1", shared.directory)
    assert isinstance(order, orders.Order)
    assert {"toolz==1.0.0", "pip==25.2"} <= set(order.pins)
    names = {pin.partition("==")[0] for pin in order.pins}
    assert {"six", "iniconfig", "setuptools", "wheel"} <= names and "doubling" not in names
    assert any(file.name.startswith("setuptools-") for file in order.tools)
    assert any("no-such-package-of-anybody-1" in note for note in order.notes)
    assert any("apt-get" in note for note in order.notes)


def test_instances_of_one_environment_share_it(shared: ImageStore, built: Image, mirrors: Path, commit: str) -> None:
    other = build(shared, ask(record(commit, 2), mirrors, None))
    assert other.layers[:2] == built.layers[:2]


def test_a_pinned_environment_is_taken_by_its_names_on_the_index(
    shared: ImageStore, mirrors: Path, commit: str, tmp_path: Path, inside: Inside
) -> None:
    asked = record(commit, 3)
    python = asked.raw["install_config"]["python"]
    (tmp_path / f"{asked.instance_id}.yml").write_text(PINNED.format(python=python))
    image = build(shared, ask(asked, mirrors, tmp_path))
    order = orders.find(asked.instance_id, shared.directory)
    assert isinstance(order, orders.Order)
    assert order.pins == ("iniconfig==2.0.0", "pip==25.2", "six==1.16.0")
    assert any("no-such-package-of-anybody-2" in note for note in order.notes)
    assert text(inside(image, f"{INSTALL} >&2 && python -c 'import doubling; print(doubling.double(1))'")) == "3\n"


def test_one_that_cannot_be_built_stops_no_other(shared: ImageStore, mirrors: Path, commit: str, built: Image) -> None:
    wanted = [ask(each, mirrors, None) for each in (record("0" * 40, 4), record(commit, 1))]
    done = {each.instance_id: each for each in build_all(shared, wanted, parallel=2)}
    assert isinstance(done["example__doubling-4"].error, ImageError)
    assert "cannot be fetched" in str(done["example__doubling-4"].error)
    assert done["example__doubling-1"].image == built


def test_the_command_reports_what_could_not_be_built(mirrors: Path, kept_record: Record) -> None:
    keep([record("0" * 40, 5)])
    given = ["build", "--instances", "example__doubling-5", "--mirrors", str(mirrors)]
    done = CliRunner().invoke(swebench, given, standalone_mode=False)
    assert done.return_value == 1
    assert "swebench:example__doubling-5" in done.output and "cannot be fetched" in done.output


def test_a_record_that_was_imported_anew_with_another_commit_has_no_image(
    shared: ImageStore, built: Image, kept_record: Record, commit: str
) -> None:
    keep([record("1" * 40)])
    try:
        assert shared.find(built.name) is None
        with pytest.raises(RecipeError, match="swebench build --instances example__doubling-1"):
            shared.get(built.name)
    finally:
        keep([kept_record])


def test_an_episode_is_made_of_the_records_name(built: Image) -> None:
    with BashEnv(task="swebench:example__doubling-1") as env:
        observation, _ = env.reset()
        assert "Doubling is wrong." in observation
        _, _, _, _, info = env.step("python -c 'import doubling'; pwd")
        assert info["result"].output == "/testbed\n" and info["result"].exit_code == 0


def test_a_copy_is_its_own(shared: ImageStore, built: Image) -> None:
    found = subprocess.run(
        ["find", *map(str, built.layers), "-type", "f", "-links", "+1"], capture_output=True, text=True, check=True
    )
    assert found.stdout == ""
