"""Real packages, from the index to a repository whose tests run."""

from __future__ import annotations

import pytest

from cwm_env.errors import ImageError
from cwm_env.images import ImageStore
from tests.images.conftest import Inside, Write, text

EDITABLE = "setup = 'pip install --no-deps --no-build-isolation --editable .'\n"


def source(name: str, version: str, sha256: str) -> str:
    return f'[[source]]\nname = "{name}"\nversion = "{version}"\nsha256 = "{sha256}"\n'


TOOLZ = source("toolz", "1.0.0", "2c86e3d9a04798ac556793bced838816296a2f085017664e4995cb40a1047a02")
REAL = {
    "setuptools, without a pyproject.toml": (TOOLZ, "toolz"),
    "flit": (
        source("boltons", "25.0.0", "e110fbdc30b7b9868cb604e3f71d4722dd8f4dcb4a5ddd06028ba8f1ab0b5ace"),
        "boltons",
    ),
    "hatchling": (
        source("attrs", "25.3.0", "75d7cefc7fb576747b2c81b4442d4d4a1ce0900973527c011d1030fd3bf4af1b"),
        "attr",
    ),
    "poetry": (
        source("tomlkit", "0.13.3", "430cf247ee57df2b94ee3fbe588e71d362a941ebb545dec29b53961d61add2a1"),
        "tomlkit",
    ),
}


@pytest.mark.parametrize("backend_of_the_build", REAL)
def test_a_package_of_every_usual_build_system_installs_editably_without_network(
    store: ImageStore, write: Write, inside: Inside, backend_of_the_build: str
) -> None:
    sources, module = REAL[backend_of_the_build]
    image = store.get(write(f'base = "python"\n{EDITABLE}{sources}'))
    assert image.layers[:2] == store.get("python").layers[:2]
    look = f"python -c 'import {module}; print({module}.__file__)'; git status --porcelain; git log --oneline | wc -l"
    where, count = text(inside(image, look, "65534:65534")).split()
    assert where.startswith("/repo/")
    assert count == "1"


def test_a_package_passes_its_own_tests_in_its_image(store: ImageStore, write: Write, inside: Inside) -> None:
    image = store.get(write(f'base = "python"\n{EDITABLE}{TOOLZ}'))
    done = text(inside(image, "python -m pytest -q -p no:cacheprovider toolz; git status --porcelain", "65534:65534"))
    assert "180 passed" in done.splitlines()[-1]


def test_the_environment_holds_what_is_pinned_and_no_more(store: ImageStore, write: Write, inside: Inside) -> None:
    base = store.get("python")
    assert text(inside(base, "python -m pip check; python -m pytest --version")).splitlines() == [
        "No broken requirements found.",
        "pytest 8.4.2",
    ]
    more = store.get(write('base = "python"\npython = ["six==1.17.0"]'))
    assert more.layers[: len(base.layers)] == base.layers
    freeze = "python -m pip freeze --all | sort"
    assert set(text(inside(more, freeze)).split()) - set(text(inside(base, freeze)).split()) == {"six==1.17.0"}


def test_a_closure_that_is_not_whole_is_refused(store: ImageStore, write: Write) -> None:
    with pytest.raises(ImageError, match=r"installing the Python packages failed(.|\n)*requires packaging"):
        store.get(write('base = "host"\npython = ["pip==25.2", "wheel==0.46.1"]'))


def test_sources_may_lie_beside_each_other(store: ImageStore, write: Write, inside: Inside) -> None:
    beside = TOOLZ + 'path = "/repo/vendor/toolz"\n' + TOOLZ + 'path = "/src/toolz"\n'
    image = store.get(write(f'base = "host"\n{beside}'))
    listed = text(
        inside(image, "git ls-files | cut -d/ -f1-2 | sort -u; ls /src/toolz/setup.py; git status --porcelain")
    )
    assert listed == "vendor/toolz\n/src/toolz/setup.py\n"
