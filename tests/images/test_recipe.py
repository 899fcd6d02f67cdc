"""Recipes: every mistake is refused, with the file and the key in the message."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cwm_env.errors import RecipeError
from cwm_env.images import ImageStore
from cwm_env.images.recipe import canonical, chain, shipped
from tests.images.conftest import Write

SHA = "0" * 64
SOURCE = f'base = "host"\n[[source]]\nname = "toolz"\nversion = "1.0.0"\nsha256 = "{SHA}"\n'


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("", "base: must be given"),
        ("base = 1", "base: expected text, got 1"),
        ("base =", "not valid TOML"),
        ('base = "host"\nworkdri = "/repo"', "workdri: no such key; did you mean workdir?"),
        ('base = "host"\ncolour = 1', "colour: no such key; there are base, debian, env, python"),
        ('base = "pyhton"', "base: there is no image 'pyhton': did you mean python?"),
        (
            'base = "debian:sid"',
            "base: there is no image 'debian:sid'; there are bookworm, python, host, debian:bookworm",
        ),
        ('base = "/tmp"', "base: there is no image '/tmp'; there are "),
        ('base = "host"\ndebian = ["git"]', "debian: base 'host' has the packages that this machine has"),
        ('base = "bookworm"\ndebian = ["git"]', "debian: the system of base 'bookworm' is complete"),
        ('base = "debian:bookworm"\ndebian = ["git; reboot"]', "debian[0]: expected the name of a Debian package"),
        ('base = "host"\npython = "pytest"', "python: expected a list"),
        ('base = "host"\npython = ["pip==25.2", "pytest"]', "python[1]: expected name==version, got 'pytest'"),
        ('base = "host"\npython = ["pip==25.2", "pytest>=8"]', "python[1]: expected name==version"),
        ('base = "host"\npython = ["pip==25.2", "a[b]==1"]', "python[1]: expected name==version"),
        ('base = "host"\npython = ["--index-url=x==1"]', "python[0]: expected name==version"),
        ('base = "host"\npython = ["pip==25.2", "A_b==1", "a-B==2"]', "python: 'a-b' stands there twice"),
        ('base = "host"\npython = ["pytest==8.4.2"]', "python: pip==… is missing"),
        ('base = "host"\nsetup = ["true"]', "setup: expected text"),
        ('base = "host"\nworkdir = "repo"', "workdir: expected an absolute path"),
        ('base = "host"\nworkdir = "/repo/"', "workdir: expected an absolute path"),
        ('base = "host"\nworkdir = "/repo/../etc"', "workdir: expected an absolute path"),
        ('base = "host"\nworkdir = "/"', "workdir: '/' belongs to the system"),
        ('base = "host"\nworkdir = "/usr/repo"', "workdir: '/usr/repo' belongs to the system"),
        ('base = "host"\nworkdir = "/tmp/repo"', "workdir: '/tmp/repo' belongs to the system"),
        ('base = "host"\nuser = "a b"', "user: expected a user's name, or UID[:GID]"),
        ('base = "host"\n[env]\nA = 1', "[env] A: expected text, got 1"),
        ('base = "host"\n[env]\n"A-B" = "1"', "[env] A-B: expected the name of a variable"),
        (SOURCE.replace(SHA, "abc"), "source[0].sha256: expected 64 hexadecimal digits"),
        (SOURCE.replace('"toolz"', '"../toolz"'), "source[0].name: expected a project's name"),
        (SOURCE.replace("version", "verison"), "source[0].version: must be given"),
        (SOURCE + 'path = "src"', "source[0].path: expected an absolute path"),
        (SOURCE + 'url = "x"', "source[0].url: no such key; there are name, path, sha256, version"),
    ],
)
def test_a_mistake_names_the_file_and_the_key(write: Write, recipe: str, says: str) -> None:
    directory = write(recipe)
    with pytest.raises(RecipeError) as caught:
        chain(directory)
    assert str(caught.value).startswith(f"{directory}/image.toml: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", ["find", "get"])
def test_an_unknown_image_is_refused_with_those_that_come_close(store: ImageStore, command: str) -> None:
    with pytest.raises(RecipeError, match=r"there is no image 'pyton': did you mean python\?"):
        getattr(store, command)("pyton")


@pytest.mark.parametrize("name", ["", "\0", "x" * 5000, "zzz"])
def test_a_name_that_is_none_lists_the_shipped_ones(store: ImageStore, name: str) -> None:
    with pytest.raises(RecipeError, match=r"there is no image .*; there are bookworm, python; a path needs a '/'"):
        store.find(name)


def test_a_directory_that_is_not_there_is_said_so(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere: no such directory; an image's directory holds an image\.toml"):
        store.find(str(tmp_path / "nowhere"))


def test_a_directory_without_a_recipe_is_said_to_lack_one(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"image\.toml: no such file"):
        store.find(str(tmp_path))


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_bytes(b'base = "\xff"')
    with pytest.raises(RecipeError, match=re.escape("is not UTF-8 text (byte 8)")):
        chain(str(tmp_path))


def test_python_on_a_debian_without_python_is_refused(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, recipe in (("bare", 'base = "debian:bookworm"'), ("ring", 'base = "ring"')):
        (tmp_path / "shipped" / name).mkdir(parents=True)
        (tmp_path / "shipped" / name / "image.toml").write_text(recipe)
    monkeypatch.setattr("cwm_env.images.recipe.data_dir", lambda _: tmp_path / "shipped")
    with pytest.raises(RecipeError, match="python: base 'bare' has no Python environment"):
        chain(write('base = "bare"\npython = ["pip==25.2"]'))
    with pytest.raises(RecipeError, match="base: 'ring' would stand on itself"):
        chain(write('base = "ring"'))


def test_every_shipped_recipe_holds_together() -> None:
    assert {"bookworm", "python"} <= set(shipped())
    for name in shipped():
        assert chain(name)[-1].name == name


def test_names_are_compared_as_the_package_index_does() -> None:
    assert canonical("Flit_Core==3.12.0") == canonical("flit.core==3.12.0") == "flit-core==3.12.0"
