"""What lies in the workdir: a git repository of one commit, clean for whoever looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwm_env.images import ImageStore
from tests.images.conftest import Inside, Write, text

BARE = 'base = "host"\n'
USERS = ["root", "agent", "nobody", "65534:65534", "12345:12345"]


def recipe(setup: str, more: str = "") -> str:
    return f"{BARE}setup = '''{setup}'''\n{more}"


def test_there_is_one_commit_and_nothing_that_leads_to_another(store: ImageStore, write: Write, inside: Inside) -> None:
    setup = """
git init -q sub; git -C sub commit -q --allow-empty -m hidden
git init -q .; echo 1 > file; git add file; git commit -q -m fix; git tag v1; git stash list; git remote add origin x
echo 2 > file; git commit -q -am broken
"""
    image = store.get(write(recipe(setup)))
    look = """
git rev-list --all --reflog | wc -l
git cat-file --batch-all-objects --batch-check | cut -d ' ' -f 2 | sort | uniq -c | tr -s ' '
git for-each-ref --format='%(refname)'
git remote; git stash list; git reflog
git fsck --full --strict --unreachable --no-reflogs 2>&1 | grep -v notice
find . -name .git; ls .git | sort | tr '\\n' ' '
"""
    assert text(inside(image, look)).splitlines() == [
        "1",
        " 1 blob",
        " 1 commit",
        " 1 tree",
        "refs/heads/main",
        "./.git",
        "HEAD config index info objects packed-refs refs ",
    ]
    assert text(inside(image, "git log --format='%an %ad %s' --date=iso; cat file")) == (
        "cwm-env 2000-01-01 00:00:00 +0000 Initial commit\n2\n"
    )


def test_the_same_files_make_the_same_commit(store: ImageStore, write: Write, inside: Inside) -> None:
    hashes = {text(inside(store.get(write(recipe(f"echo 1 > file  # {n}"))), "git rev-parse HEAD")) for n in range(2)}
    assert len(hashes) == 1


@pytest.mark.parametrize("user", USERS)
def test_the_tree_is_clean_for_every_user(store: ImageStore, write: Write, inside: Inside, user: str) -> None:
    image = store.get(write(recipe("mkdir a; echo 1 > a/b; ln -s b a/c; chmod 600 a/b; touch 'a/\t\n*'; mkdir empty")))
    assert text(inside(image, "git status --porcelain --ignored && git log --oneline | wc -l", user)) == "1\n"


def test_all_that_was_there_is_committed_whatever_the_project_ignores(
    store: ImageStore, write: Write, inside: Inside
) -> None:
    setup = """
printf '*\\n' > .gitignore; echo 1 > generated.py; mkdir docs; printf '*.rst\\n' > docs/.gitignore; touch docs/a.rst
printf '* text=auto eol=lf ident\\n' > .gitattributes; printf 'a\\r\\n$Id$\\r\\n' > crlf.txt
"""
    image = store.get(write(recipe(setup)))
    expected = ".gitattributes .gitignore crlf.txt docs/.gitignore docs/a.rst generated.py"
    assert text(inside(image, "git ls-files")).split() == expected.split()
    assert text(inside(image, "git show HEAD:crlf.txt")) == "a\r\n$Id$\r\n"
    assert text(inside(image, "touch *; git status --porcelain")) == ""


def test_what_builds_leave_behind_is_not_in_the_way(store: ImageStore, write: Write, inside: Inside) -> None:
    leave = "mkdir -p src/__pycache__ src/p.egg-info build .pytest_cache; touch src/__pycache__/a.pyc src/p.egg-info/x "
    leave += "build/y .pytest_cache/z fast.so"
    image = store.get(write(recipe(f"mkdir src; touch src/a.py; {leave}")))
    assert text(inside(image, "git ls-files; git status --porcelain; ls build")) == "src/a.py\ny\n"
    clean = store.get(write(recipe("mkdir src; touch src/a.py")))
    assert text(inside(clean, f"{leave}; git status --porcelain")) == ""


def test_an_agent_can_commit_at_once(store: ImageStore, write: Write, inside: Inside) -> None:
    image = store.get(write(recipe("echo 1 > file")))
    work = "echo 2 > file && git commit -qam 'fix' && git log --oneline | wc -l && git diff HEAD~ --stat | tail -1"
    assert text(inside(image, work)).splitlines()[0] == "2"


def test_the_image_of_a_user_belongs_to_that_user(store: ImageStore, write: Write, inside: Inside) -> None:
    image = store.get(write(recipe("mkdir a; echo 1 > a/b", 'user = "agent"\nworkdir = "/testbed"\n')))
    assert (image.user, image.workdir) == ("agent", "/testbed")
    work = "id -un; pwd; echo 2 > a/b && git commit -qam fix && touch ~/file && git status --porcelain"
    assert text(inside(image, f"{work}; stat -c %U a/b .git")).split() == ["agent", "/testbed", "agent", "agent"]


def test_an_image_may_have_its_own_environment(store: ImageStore, write: Write, inside: Inside) -> None:
    image = store.get(write(recipe("echo $GREETING > file", '[env]\nGREETING = "a b"\n')))
    assert image.env["GREETING"] == "a b"
    assert text(inside(image, "echo $GREETING; cat file")) == "a b\na b\n"


def test_an_image_with_nothing_in_it_is_a_repository_too(store: ImageStore, write: Write, inside: Inside) -> None:
    image = store.get(write(BARE))
    assert text(inside(image, "git log --oneline | wc -l; ls -A")) == "1\n.git\n"


def test_what_a_build_leaves_in_scratch_space_is_gone(store: ImageStore, write: Write, inside: Inside) -> None:
    image = store.get(write(recipe("touch /tmp/a /run/b /dev/shm/c; (sleep 1000 &) ; touch /var/tmp/kept")))
    assert text(inside(image, "ls -A /tmp; ls -A /run; ls -A /dev/shm; ls -d /cwm*; ls /var/tmp")) == "kept\n"


def test_files_that_only_their_maker_could_read_are_readable_for_the_tests(
    store: ImageStore, write: Write, inside: Inside
) -> None:
    image = store.get(write(recipe("mkdir -m 700 a; (umask 077; touch a/b); touch a/c; chmod 500 a/c")))
    assert text(inside(image, "stat -c %a a a/b a/c; cat a/b", "65534:65534")).split() == ["755", "644", "755"]


@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_the_umask_of_the_builder_does_not_matter(tmp_path: Path, write: Write, inside: Inside, mask: int) -> None:
    before = os.umask(mask)
    try:
        image = ImageStore(tmp_path / "store").get(write(recipe("mkdir a; touch a/b")))
    finally:
        os.umask(before)
    look = "stat -c %a / /etc /etc/passwd /etc/gitconfig a a/b; git status --porcelain"
    assert text(inside(image, look, "65534:65534")).split() == ["755", "755", "644", "644", "755", "644"]
