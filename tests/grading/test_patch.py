"""The patch is what the agent changed, whatever it is made of, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_env.grading import patch as patches
from cwm_env.grading.pristine import inspect
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.run import run
from cwm_env.types import HiddenTests, Image, Limits
from tests.grading.conftest import BYTES, Take, listing

Tree = Callable[[str], dict[bytes, bytes]]
ONLY_REPOSITORIES = pytest.mark.parametrize("repository", ["commit"], indirect=True)


def test_no_change_is_an_empty_patch(take: Take) -> None:
    assert take("true") == patches.Patch("")
    assert take("touch pkg/core.py; cp -a pkg other; rm -r other") == patches.Patch("")


def test_content_mode_binary_links_and_deletions_cross(take: Take, tree_after: Tree) -> None:
    patch = take(
        "sed -i 's/ + 1//' pkg/core.py; chmod +x pkg/__init__.py; head -c 3000 /dev/urandom > new.bin; : > empty;"
        "printf '\\0' >> pkg/data.bin; ln -s core.py pkg/link.py; ln -s ../../pkg pkg/sub/up; rm CHANGELOG.md;"
        "mv pkg/sub/deep.py pkg/moved.py"
    )
    tree = tree_after(patch.text)
    assert tree[b"./pkg/link.py"].startswith(b"link core.py") and tree[b"./pkg/sub/up"].startswith(b"link ../../pkg")
    assert {b"./pkg/moved.py", b"./new.bin", b"./empty"} <= set(tree)
    assert b"./CHANGELOG.md" not in tree and b"./pkg/sub/deep.py" not in tree
    assert tree[b"./pkg/__init__.py"].startswith(b"x\n")
    assert patch.dropped == ()


@pytest.mark.parametrize(
    "commands",
    [
        "rm -rf pkg/sub; echo file > pkg/sub",
        "rm pkg/core.py; mkdir pkg/core.py; echo x > pkg/core.py/x.py",
        "rm -rf pkg/sub; ln -s ../pkg pkg/sub",
        "mv pkg package; mkdir pkg; echo x > pkg/new.py",
        "rm -rf pkg; mkdir -p pkg/sub; echo 'x = 1' > pkg/sub/deep.py",
        "rm -f .gitattributes; echo a > win.bat",
    ],
)
def test_any_kind_of_path_may_take_the_place_of_another(
    commands: str, take: Take, tree_after: Tree, backend: NamespacesBackend, repository: Image
) -> None:
    episode = backend.create(repository, Limits())
    run(episode, ["bash", "-c", commands], cwd="/repo", timeout=60)
    assert tree_after(take(commands).text) == listing(episode)
    episode.close()


NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: (
        b"\0" not in name
        and b"/" not in name
        and name not in (b".", b"..", b"__pycache__")
        and b"git" not in name.lower()
    )
)


@settings(max_examples=15)
@given(st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=12))
def test_names_and_content_are_any_bytes(
    backend: NamespacesBackend, repository: Image, tests: HiddenTests, files: dict[bytes, bytes]
) -> None:
    episode, fresh, clone = (backend.create(repository, Limits()) for _ in range(3))
    try:
        data = b"".join(name + b"\0" + content.hex().encode() + b"\0" for name, content in files.items())
        script = r"""while IFS= read -r -d '' n && IFS= read -r -d '' h; do
            printf "$(sed 's/../\\x&/g' <<< "$h")" > "new/$n"; done"""
        run(episode, ["bash", "-c", f"mkdir new; {script}"], env=BYTES, cwd="/repo", input=data, timeout=60)
        made = listing(episode)
        episode.stop()
        patch = patches.take(episode, fresh, repository, replace(tests, ignored=True))
        assert patches.apply(clone, repository, patch.text) == ""
        dropped = {b"./" + name.encode("utf-8", "surrogateescape") for name in patch.dropped}
        assert listing(clone) == {name: content for name, content in made.items() if name not in dropped}
    finally:
        for sandbox in (episode, fresh, clone):
            sandbox.close()


@ONLY_REPOSITORIES
def test_what_git_ignores_is_listed_and_counts_only_where_the_task_says_so(take: Take, tests: HiddenTests) -> None:
    commands = "echo x > a.log; mkdir build; echo y > build/lib.py; echo z > kept.py"
    patch = take(commands)
    assert "kept.py" in patch.text and "build/lib.py" not in patch.text and patch.ignored == ("a.log", "build/lib.py")
    patch = take(commands, replace(tests, ignored=True))
    assert "build/lib.py" in patch.text and patch.ignored == ()


@ONLY_REPOSITORIES
def test_a_tracked_file_counts_though_it_is_ignored(take: Take) -> None:
    assert "pkg/core.py" in take("echo '*' > .gitignore; echo >> pkg/core.py").text


@ONLY_REPOSITORIES
def test_what_the_agent_committed_is_part_of_the_patch(take: Take) -> None:
    commit = "git -c user.name=a -c user.email=a@b commit -qam x"
    assert "+z = 1" in take(f"echo z = 1 >> pkg/core.py; {commit}; rm -rf .git").text
    assert "+z = 1" in take("echo z = 1 >> pkg/core.py; git update-index --assume-unchanged pkg/core.py").text


@ONLY_REPOSITORIES
@pytest.mark.parametrize(
    ("setup", "clean"),
    [
        ("git status", True),
        ("touch pkg/core.py; cp -a pkg/core.py other; mv other pkg/core.py", True),
        ("rm .git/index", True),
        ("git rm -q --cached pkg/core.py", True),
        ("echo x > .git/index", True),
        ("sed -i 's/x/y/' pkg/core.py", False),
        ("git reset -q; touch -r pkg/core.py as; sed -i 's/x/y/' pkg/core.py; touch -r as pkg/core.py", False),
        ("sed -i 's/x/y/' pkg/core.py; git update-index --assume-unchanged pkg/core.py", False),
        ("rm pkg/core.py; git update-index --skip-worktree pkg/core.py", False),
        ("sed -i 's/x/y/' pkg/core.py; git add pkg/core.py", False),
    ],
)
def test_an_image_is_as_its_commit_whatever_its_own_index_says(
    setup: str, clean: bool, backend: NamespacesBackend, repository: Image
) -> None:
    clone = backend.create(repository, Limits())
    # As it is, byte by byte: the repository's own attributes have converted some.
    plain = "echo '* -text -eol -ident -filter' > .git/info/attributes; git add --renormalize ."
    commit = "git -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m plain"
    said = run(clone, ["bash", "-ec", f"{plain}; {commit}; {setup}"], cwd="/repo", timeout=60)
    assert not said.exit_code, said
    found = inspect(clone, replace(repository, digest=setup))
    clone.close()
    assert found.clean == clean and {b"pkg/core.py", b"pkg/__init__.py"} <= found.tracked


def test_the_agents_git_attributes_change_no_byte(take: Take, tree_after: Tree) -> None:
    patch = take(
        "echo '* text eol=crlf ident working-tree-encoding=UTF-16 -diff' > .gitattributes;"
        "printf '$Id$\\n' >> pkg/core.py"
    )
    assert "+$Id$\n" in patch.text and "\r" not in patch.text
    assert set(tree_after(patch.text)) >= {b"./.gitattributes"}


@pytest.mark.parametrize(
    "commands",
    [
        "echo x > tests/test_new.py",
        "rm -rf tests; ln -s pkg tests",
        "rm -rf tests; echo > tests",
        "mkdir -p pkg/tests; echo > pkg/tests/x.py",
        "echo > pkg/conftest.py",
        "mkdir pkg/conftest; echo > pkg/conftest/__init__.py; echo > conftest.abi3.so",
        "echo > pytest.ini; echo > setup.cfg; echo >> pyproject.toml; echo > tox.ini",
        "echo > sitecustomize.py; mkdir -p a/sitecustomize; echo > a/sitecustomize/x.py; echo > usercustomize.abi3.so",
        "ln -s pkg sitecustomize",
        "echo > x.pth; mkdir a.egg-info b.dist-info; echo > a.egg-info/entry_points.txt; echo > b.dist-info/RECORD",
        "mkdir pkg/__pycache__; echo > pkg/__pycache__/core.cpython-311.pyc; echo > pkg/core.pyc",
        "ln -s /etc/passwd a; ln -s ../../etc b; ln -s pkg/../../etc c; ln -s pkg/.. d; ln -s .git/config e",
        "mkdir .GIT; echo > .GIT/config; ln -s x .gitmodules; mkdir n; git -C n init -q",
        "mkfifo pipe",
        "echo > pyvenv.cfg; echo > .python-version; mkdir -p lib/site-packages; echo > lib/site-packages/x.py",
    ],
)
def test_what_is_protected_does_not_cross(commands: str, take: Take) -> None:
    patch = take(f"{commands}; echo 'z = 1' > pkg/honest.py")
    assert patch.text.count("diff --git") == 1 and "pkg/honest.py" in patch.text
    assert patch.dropped or "pycache" in commands


def test_what_would_be_imported_in_the_place_of_a_test_module_does_not_cross(take: Take, tests: HiddenTests) -> None:
    patch = take(
        "mkdir checks; echo > checks/__init__.py; echo > checks.abi3.so; echo > pkg/checks.py; echo > checks_more.py",
        replace(tests, fail_to_pass=("repo/checks.py::test_core",)),
    )
    assert patch.dropped == ("checks.abi3.so", "checks/__init__.py") and patch.text.count("diff --git") == 2


def test_deleting_a_directory_spares_what_is_protected_in_it(take: Take, tree_after: Tree) -> None:
    tree = tree_after(take("rm -rf * .gitignore .gitattributes").text)
    assert set(tree) == {b"./tests/test_core.py", b"./tests/helpers.py", b"./conftest.py", b"./pyproject.toml"}
    assert set(tree_after(take("cd /; mv repo old; mkdir repo").text)) == set(tree)


def test_a_task_opens_what_its_fix_needs(take: Take, tests: HiddenTests) -> None:
    patch = take("echo >> pyproject.toml; echo > setup.cfg", replace(tests, unprotected=("pyproject.toml",)))
    assert "pyproject.toml" in patch.text and patch.dropped == ("setup.cfg",)


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        ("truncate -s 1T sparse", "bytes"),
        ("head -c 70000000 /dev/zero > big", "bytes"),
        ("mkdir many; cd many; for i in {1..21000}; do : > $i; done", "paths"),
        ("for i in {1..300}; do mkdir d; cd d; done", "deep"),
    ],
)
def test_too_much_has_a_clear_outcome(commands: str, says: str, take: Take) -> None:
    with pytest.raises(ValueError, match=says):
        take(commands)


def test_a_patch_that_does_not_apply_says_so(backend: NamespacesBackend, repository: Image) -> None:
    clone = backend.create(repository, Limits())
    for bad in (
        "nonsense",
        "--- a/none\n+++ b/none\n@@ -1 +1 @@\n-a\n+b\n",
        "--- /dev/null\n+++ b/../out\n@@ -0,0 +1 @@\n+a\n",
    ):
        assert patches.apply(clone, repository, bad) != ""
    clone.close()
