"""Nothing that an episode did reaches another's grading, and no verdict is an error of ours by a policy's doing."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.grading import Grader
from cwm_env.grading.exploits import exploits
from cwm_env.images import ImageStore
from cwm_env.paths import cache_dir
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.run import run
from cwm_env.tasks import load_task
from cwm_env.types import Grade, Image
from tests.envs.small import FIX, write_task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small task."""
    return write_task(tmp_path_factory.mktemp("tasks"))


def play(task: Path, *commands: str) -> Grade:
    """The verdict on an episode of these actions."""
    env = BashEnv(task, turns=20)
    env.reset()
    for command in commands:
        env.step(command)
    *_, info = env.step("submit")
    env.close()
    grade: Grade = info["grade"]
    return grade


def fingerprint(*directories: Path) -> str:
    """Over every path, kind, mode, owner, link and content below."""
    whole = hashlib.sha256()
    for directory in directories:
        for parent, names, files in os.walk(directory):
            names.sort()
            for name in sorted((*names, *files)):
                path = Path(parent, name)
                status = path.lstat()
                whole.update(
                    repr((str(path), status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)).encode()
                )
                if path.is_symlink():
                    whole.update(os.fsencode(path.readlink()))
                elif path.is_file():
                    whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def image_of(task: Path) -> Image:
    return ImageStore().get(load_task(task).image)


HOSTILE = (
    exploits()["edited-site-packages"].commands,
    exploits()["shim-on-path"].commands,
    "{ chmod -R 777 /usr /opt /repo; chown -R 1000 /repo /opt; rm -rf /opt/* /etc/* /var/*; } 2>/dev/null; true",
)


def test_images_and_caches_have_the_same_hashes_after_a_hostile_episode(task: Path) -> None:
    image = image_of(task)
    places = (*image.layers, cache_dir() / "images")
    before = fingerprint(*places)
    assert play(task, *HOSTILE).reward == 0.0
    assert play(task, exploits()["edits-hidden-tests"].commands).reward == 0.0
    assert fingerprint(*places) == before
    assert play(task, FIX).outcome == "resolved"


def test_a_hostile_episode_beside_it_changes_no_verdict(task: Path) -> None:
    """While others run their exploits, honest episodes are resolved and idle ones are not."""
    found: list[float | None] = []

    def hostile() -> None:
        play(task, exploits()["daemon"].commands, exploits()["environment"].commands)

    threads = [threading.Thread(target=hostile) for _ in range(2)]
    for thread in threads:
        thread.start()
    for commands in ((FIX,), (), (FIX,)):
        found.append(play(task, *commands).reward)
    for thread in threads:
        thread.join()
    assert found == [1.0, 0.0, 1.0]


PROBE = """cat >> /repo/doubling.py <<'EOF'
import os
seen = {
    (os.getuid(), os.stat(path).st_uid, os.access(path, os.W_OK))
    for place in ("/tests", "/run/cwm-env", "/repo")
    for parent, _, files in os.walk(place)
    for path in (parent, *(os.path.join(parent, file) for file in files))
}
raise RuntimeError("PROBE %s" % sorted(seen))
EOF"""


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is one user id, and it owns everything")
def test_hidden_tests_and_what_starts_them_belong_to_root_and_cannot_be_written(task: Path) -> None:
    assert "PROBE [(65534, 0, False)]" in play(task, PROBE).output


def test_no_process_of_the_episode_is_alive_when_its_tree_is_read(backend: NamespacesBackend, task: Path) -> None:
    image = image_of(task)
    episode = backend.create(image, load_task(task).limits)
    writer = "while true; do date +%N > /repo/changing.txt; done"
    run(episode, ["bash", "-c", f"(setsid bash -c '{writer}' &) ; (trap '' TERM; {writer}) & sleep 0.2"], timeout=10)
    try:
        grader = Grader(backend, image, load_task(task))
        first, second = grader.grade(episode), grader.grade(episode)
        assert first.patch == second.patch and "changing.txt" in first.patch
    finally:
        episode.close()


@pytest.mark.parametrize(
    "commands",
    [
        "chmod -R 000 /repo",
        "chmod 000 .; chmod 000 tests",
        "chown -R 1000:1000 /repo",
        "umask 777; mkdir d; touch d/x f",
    ],
)
def test_no_mode_or_owner_makes_the_tree_unreadable(commands: str, task: Path) -> None:
    grade = play(task, f"{FIX}; {commands}")
    assert grade.outcome in ("resolved", "unresolved") and grade.reward is not None


def test_the_order_of_verdicts_does_not_matter(task: Path, backend: NamespacesBackend) -> None:
    grader = Grader(backend, image_of(task), load_task(task))
    gold = play(task, FIX).patch
    evil = "--- /dev/null\n+++ b/conftest.py\n@@ -0,0 +1 @@\n+import os; os._exit(0)\n"
    outcomes = [grader.grade_patch(patch).outcome for patch in (gold, evil, gold, "", gold)]
    assert outcomes == ["resolved", "unresolved", "resolved", "unresolved", "resolved"]
