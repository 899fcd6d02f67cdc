"""A repository's tests under trace: verdicts and output as untraced, episodes cut and repeatable, context complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.tracing import Place
from cwm_env.tracing.context import MARKER
from cwm_env.tracing.datasets.repository import Cut, Episode, collect, trace_tests
from tests.conftest import make_image

LIBRARY = '''\
"""A library."""
import math

LIMIT = 3
UNUSED = 4


def deep(n):
    if n <= 0:
        return math.floor(LIMIT + 0.5)
    return deep(n - 1)


class Stack:
    """Holds things."""

    kind = "stack"

    def __init__(self):
        self.items = []

    @property
    def top(self):
        return self.items[-1]

    def push(self, item):
        self.items.append(item)
        return len(self.items)

    def never(self):
        raise AssertionError


def unused():
    return UNUSED
'''
TESTS = """\
import pytest
from lib import Stack, deep

def test_stack(capsys):
    s = Stack()
    assert s.push(1) == 1
    assert s.push("a") == 2
    assert s.top == "a"
    print("said")

def test_deep():
    assert deep(5) == 3

def test_fails():
    assert deep(0) == 4

@pytest.mark.skip(reason="shows how a skipped test is told")
def test_skipped():
    pass
"""


@pytest.fixture(scope="module")
def repository(backend: NamespacesBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    layer = tmp_path_factory.mktemp("repository") / "layer"
    image = make_image(layer)
    (layer / "repo" / "lib.py").write_text(LIBRARY)
    (layer / "repo" / "test_lib.py").write_text(TESTS)
    site = Path(pytest.__file__).parent.parent
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        shutil.copytree(site / name, layer / "packages" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(site / "py.py", layer / "packages")
    yield Place(backend, image, env={"PYTHONPATH": "/packages", "PYTHONDONTWRITEBYTECODE": "1"})


def episodes(place: Place, cut: Cut) -> list[Episode]:
    found: list[Episode] = []
    ending, _ = trace_tests(place, ["test_lib.py"], found.append, cut=cut)
    assert ending.refusal is None, ending.refusal
    return found


def test_verdicts_and_output_are_those_of_an_untraced_run(repository: Place) -> None:
    assert collect(repository) == ["test_lib.py"]
    traced, _ = trace_tests(repository, ["test_lib.py"], lambda episode: None)
    plain, _ = trace_tests(repository, ["test_lib.py"], lambda episode: None, trace=False)
    assert traced.verdicts == plain.verdicts
    outcomes = {test.partition("::")[2]: phases.popitem()[1] for test, phases in traced.verdicts.items()}
    assert outcomes == {
        "test_stack": "passed",
        "test_deep": "passed",
        "test_fails": "failed",
        "test_skipped": "skipped",
    }
    assert traced.exit_code == plain.exit_code == 1
    without_time = [b"".join(end.stdout.rpartition(b" in ")[:1]) for end in (traced, plain)]
    assert without_time[0] == without_time[1]


def test_episodes_are_cut_by_depth_and_carry_their_context(repository: Place) -> None:
    cut = Cut(depth=2, step_in=1.0, per_function=2)
    found = episodes(repository, cut)
    by_name: dict[str, list[Episode]] = {}
    for episode in found:
        by_name.setdefault(episode.function.rpartition(".")[2], []).append(episode)
    assert {name: len(made) for name, made in by_name.items()} == {"__init__": 1, "push": 2, "top": 1, "deep": 2}
    deep = by_name["deep"][0]
    assert deep.test == "test_lib.py::test_deep" and deep.file == "/repo/lib.py"
    assert [frame.kind for frame in deep.trace.frames].count("call") == 2
    assert deep.trace.value == "3"
    assert "import math\n" in deep.trace.context and "LIMIT = 3\n" in deep.trace.context
    assert f"def deep(n):{MARKER}\n" in deep.trace.context
    assert "UNUSED" not in deep.trace.context and "class Stack" not in deep.trace.context
    push = by_name["push"][0].trace
    assert "class Stack:" in push.context and "never" not in push.context and '"stack"' in push.context
    assert by_name["top"][0].trace.frames[0].source == "    def top(self):\n"
    for episode in found:
        lines = episode.trace.context.replace(MARKER, "").split("\n")
        assert all(frame.source.rstrip("\n") in lines for frame in episode.trace.frames)
        assert episode.trace.complete and episode.trace.resolved


def test_the_same_seed_cuts_the_same(repository: Place) -> None:
    cuts = [Cut(depth=6, step_in=0.5, seed=seed) for seed in (1, 1, 2, 3, 4, 5)]
    texts = [[episode.trace.to_cwm() for episode in episodes(repository, cut)] for cut in cuts]
    assert texts[0] == texts[1]
    assert len({tuple(made) for made in texts}) > 1


def test_what_is_too_long_is_refused_with_its_reason(repository: Place) -> None:
    cut = Cut(frames=5, depth=9, step_in=1.0)
    _, refused = trace_tests(repository, ["test_lib.py"], lambda episode: None, cut=cut)
    assert refused == {"length": 1}
    cut = replace(Cut(), limits=replace(Cut().limits, max_events=1))
    _, refused = trace_tests(repository, ["test_lib.py"], lambda episode: None, cut=cut)
    assert set(refused) == {"events"}
