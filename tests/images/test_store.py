"""The cache: what is there is not built again, what nobody needs can go, and nothing half-made is ever used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cwm_env.errors import ImageError, RecipeError
from cwm_env.images import ImageStore
from cwm_env.images.disk import locked, remove_tree
from tests.images.conftest import Inside, Write, text

ROOT = Path(__file__).parents[2]
BARE = 'base = "host"\n'
UNREACHABLE = "http://127.0.0.1:9/simple"


def recipe(setup: str, more: str = "") -> str:
    return f"{BARE}setup = '''{setup}'''\n{more}"


@pytest.fixture
def own(tmp_path: Path) -> ImageStore:
    """A store of this test alone."""
    return ImageStore(tmp_path / "store")


def built(store: ImageStore, name: str) -> list[str]:
    """The kinds of layers that a ``get`` builds."""
    lines: list[str] = []
    store.get(name, progress=lines.append)
    return [line.split("'")[1] for line in lines if "building the layer" in line]


def test_what_is_built_is_not_built_again(own: ImageStore, write: Write) -> None:
    name = write(recipe("echo 1 > file"))
    assert own.find(name) is None
    assert built(own, name) == ["system", "repository"]
    assert built(own, name) == []
    assert own.get(name) == own.find(name) == ImageStore(own.directory).find(name)


def test_looking_for_an_image_writes_nothing(own: ImageStore, write: Write) -> None:
    assert own.find(write(BARE)) is None
    assert not own.directory.exists()


def test_a_changed_set_up_script_rebuilds_the_last_layer_only(own: ImageStore, write: Write, inside: Inside) -> None:
    first = own.get(write(recipe("echo 1 > file")))
    changed = write(recipe("echo 2 > file"))
    assert own.find(changed) is None
    assert built(own, changed) == ["repository"]
    second = own.get(changed)
    assert second.layers[0] == first.layers[0]
    assert second.digest != first.digest
    assert text(inside(second, "cat file")) == "2\n"
    assert built(own, write(recipe("echo 1 > file"))) == []


@pytest.mark.parametrize(
    "more", ['workdir = "/testbed"', 'user = "agent"', '[env]\nA = "1"', "setup = 'true'"], ids=lambda more: more[:4]
)
def test_every_key_changes_the_digest(store: ImageStore, write: Write, more: str) -> None:
    assert store.get(write(BARE)).digest != store.get(write(f"{BARE}{more}\n")).digest


def test_a_digest_depends_on_neither_the_cache_nor_the_place_of_the_recipe(
    own: ImageStore, store: ImageStore, write: Write, tmp_path: Path
) -> None:
    here = write(recipe("echo 1 > file"))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "image.toml").write_text((Path(here) / "image.toml").read_text())
    digests = {own.get(here).digest, store.get(here).digest, own.get(str(tmp_path / "there")).digest}
    assert len(digests) == 1
    assert digests.pop().startswith("sha256:")


def test_a_built_image_is_found_within_a_few_milliseconds(store: ImageStore, write: Write) -> None:
    name = write(BARE)
    store.get(name)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        store.get(name)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005


def test_built_images_are_listed_by_name(own: ImageStore, write: Write) -> None:
    assert own.list() == ()
    image = own.get(write(BARE))
    assert own.list() == (image,)


def test_removing_an_image_keeps_the_layers_of_others(own: ImageStore, tmp_path: Path, inside: Inside) -> None:
    names = [str(tmp_path / each) for each in ("a", "b")]
    for name in names:
        Path(name).mkdir()
        (Path(name) / "image.toml").write_text(recipe(f"echo {name} > file"))
    first, second = map(own.get, names)
    assert own.remove(names[0]) > 0
    assert own.list() == (second,)
    assert own.find(names[0]) is None
    assert not first.layers[-1].exists()
    assert text(inside(second, "cat file")) == f"{names[1]}\n"
    assert own.remove(names[1]) > 0
    assert list((own.directory / "layers").iterdir()) == []


def test_an_image_can_be_removed_when_its_recipe_is_gone(
    own: ImageStore, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(BARE)
    own.get(name)
    (Path(name) / "image.toml").unlink()
    monkeypatch.chdir(Path(name).parent)
    own.remove("environment")
    assert own.list() == ()
    with pytest.raises(RecipeError, match="no image 'environment' is built; there are none"):
        own.remove("environment")


def test_pruning_removes_what_no_image_needs(own: ImageStore, write: Write) -> None:
    old = own.get(write(recipe("head -c 3000000 /dev/zero > file")))
    new = own.get(write(recipe("echo 2 > file")))
    leftover = own.directory / "building" / "0" / "layer"
    leftover.mkdir(parents=True)
    (own.directory / "downloads" / "source-0").write_bytes(b"0" * 100_000)
    assert own.prune() > 3_000_000
    assert not old.layers[-1].exists()
    assert own.find(write(recipe("echo 2 > file"))) == new
    assert list((own.directory / "building").iterdir()) == list((own.directory / "downloads").iterdir()) == []
    assert own.prune() == 0


def test_pruning_waits_for_builders(own: ImageStore, write: Write) -> None:
    own.get(write(BARE))
    pruning = threading.Thread(target=own.prune)
    with locked(own.directory / "locks" / "store", shared=True):
        pruning.start()
        pruning.join(0.2)
        assert pruning.is_alive()
    pruning.join(10)
    assert not pruning.is_alive()


def test_layers_of_directories_that_nobody_may_write_can_be_removed(own: ImageStore, write: Write) -> None:
    own.get(name := write(recipe("cd /opt; mkdir -p a/b; touch a/b/c; chmod 000 a/b/c; chmod 555 a/b; chmod 000 a")))
    own.remove(name)
    assert list((own.directory / "layers").iterdir()) == []


def test_a_record_that_cannot_be_read_is_as_none(own: ImageStore, write: Write) -> None:
    image = own.get(name := write(BARE))
    (record,) = (own.directory / "images").iterdir()
    for broken in ("", "[]", "{}", '{"layers": 1}', record.read_text().replace("digest", "digset")):
        record.write_text(broken)
        assert own.find(name) is None
        assert own.get(name) == image


def test_a_lost_layer_is_built_again(own: ImageStore, write: Write) -> None:
    image = own.get(name := write(BARE))
    remove_tree(image.layers[-1])
    assert own.list() == ()
    assert own.find(name) is None
    assert built(own, name) == ["repository"]


def start(own: ImageStore, name: str) -> subprocess.Popen[str]:
    """A process that gets an image, and prints what it does."""
    code = "import sys; from pathlib import Path; from cwm_env.images import ImageStore\n"
    code += "print(ImageStore(Path(sys.argv[1])).get(sys.argv[2], progress=lambda s: print(s, flush=True)).digest)"
    command = [sys.executable, "-c", code, str(own.directory), name]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_processes_at_once_build_each_layer_once(own: ImageStore, write: Write) -> None:
    name = write(recipe("sleep 0.5; echo 1 > file"))
    outputs = [process.communicate(timeout=60)[0] for process in [start(own, name) for _ in range(3)]]
    lines = "".join(outputs).splitlines()
    assert sum("building the layer 'system'" in line for line in lines) == 1
    assert sum("building the layer 'repository'" in line for line in lines) == 1
    assert any("waiting for another process" in line for line in lines)
    assert len({output.splitlines()[-1] for output in outputs}) == 1


def test_threads_at_once_get_the_same_image(own: ImageStore, write: Write) -> None:
    name, found = write(recipe("echo 1 > file")), []
    threads = [threading.Thread(target=lambda: found.append(own.get(name))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [own.get(name)] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_build_leaves_no_layer_that_is_used(
    own: ImageStore, write: Write, inside: Inside, number: signal.Signals
) -> None:
    own.get(write(BARE))
    flag = Path(write(recipe("echo half > file; sleep 60; echo whole > file"))) / "image.toml"
    with start(own, str(flag.parent)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "running the set-up script" in line:
                break
        time.sleep(0.3)
        process.send_signal(number)
        process.wait(20)
    assert own.find(str(flag.parent)) is None
    left = list((own.directory / "building").iterdir())
    assert bool(left) == (number == signal.SIGKILL)
    own.prune()
    assert list((own.directory / "building").iterdir()) == []
    flag.write_text(flag.read_text().replace("sleep 60", "sleep 0"))
    assert text(inside(own.get(str(flag.parent)), "cat file")) == "whole\n"


def test_a_failing_set_up_shows_the_last_that_it_printed_and_leaves_nothing(own: ImageStore, write: Write) -> None:
    name = write(recipe("echo on the way >&2\nfalse\necho not reached"))
    with pytest.raises(ImageError) as caught:
        own.get(name)
    assert str(caught.value).startswith(f"image {name}: the set-up script failed with exit code 1; ")
    assert str(caught.value).endswith("printed:\non the way")
    assert len(list((own.directory / "layers").iterdir())) == 1
    assert list((own.directory / "building").iterdir()) == []


def test_a_set_up_script_has_no_network_and_no_input(store: ImageStore, write: Write, inside: Inside) -> None:
    setup = "cat > input; grep -c : /proc/net/dev > devices; id -u > id"
    image = store.get(write(recipe(setup)))
    assert text(inside(image, "cat input devices id")) == "1\n0\n"


def test_a_user_that_the_image_has_not_is_refused(store: ImageStore, write: Write) -> None:
    with pytest.raises(ImageError, match=r"nobodyelse"):
        store.get(write(f'{BARE}user = "nobodyelse"'))


def test_a_package_that_the_index_has_not_is_said_so(store: ImageStore, write: Write) -> None:
    with pytest.raises(ImageError, match=r"pip could not download the Python packages: check the network(.|\n)*99\.0"):
        store.get(write(f'{BARE}python = ["pip==99.0"]'))


def test_an_index_that_cannot_be_reached_is_an_error_with_the_remedy(
    own: ImageStore, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", UNREACHABLE.replace("//", "//user:secret@"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    source = f'[[source]]\nname = "toolz"\nversion = "1.0.0"\nsha256 = "{"0" * 64}"\n'
    for more in ('python = ["pip==25.2"]\n', source):
        with pytest.raises(ImageError, match="check the network, or say which index to use") as caught:
            own.get(write(BARE + more))
        assert "secret" not in str(caught.value)


def test_an_archive_of_another_content_is_refused_and_not_kept(own: ImageStore, write: Write) -> None:
    with pytest.raises(ImageError, match=r"toolz 1\.0\.0 has sha256 2c86e3d9.*the recipe says 0000"):
        own.get(write(f'{BARE}[[source]]\nname = "toolz"\nversion = "1.0.0"\nsha256 = "{"0" * 64}"\n'))
    assert list((own.directory / "downloads").iterdir()) == []


@pytest.mark.parametrize("name", ["toolz", "no-such-project-of-cwm-env"])
def test_a_release_that_the_index_has_not_is_said_so(store: ImageStore, write: Write, name: str) -> None:
    with pytest.raises(ImageError, match=rf"the package index has no source distribution of {name} 99\.0"):
        store.get(write(f'{BARE}[[source]]\nname = "{name}"\nversion = "99.0"\nsha256 = "{"0" * 64}"\n'))


def test_nothing_is_downloaded_twice(own: ImageStore, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(f'{BARE}python = ["pip==25.2", "iniconfig==2.1.0"]\n')
    own.get(name)
    own.remove(name)
    monkeypatch.setenv("PIP_INDEX_URL", UNREACHABLE)
    assert built(own, name) == ["system", "python", "repository"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("size", ["64k", "2m"], ids=["while a layer is written here", "while a sandbox writes it"])
def test_a_full_disk_is_told_from_a_broken_recipe(tmp_path: Path, write: Write, size: str) -> None:
    name = write(recipe("head -c 9000000 /dev/zero > file"))
    code = "from pathlib import Path; from cwm_env.images import ImageStore; from cwm_env.errors import *\n"
    code += f"try: ImageStore(Path({str(tmp_path)!r}, 'small')).get({name!r})\nexcept DiskFull as error: print(error)"
    (tmp_path / "small").mkdir()
    script = 'mount -t tmpfs -o size="$1" none "$2" && exec "$3" -c "$4"'
    arguments = [size, str(tmp_path / "small"), sys.executable, code]
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"image {name}: no space is left" in done.stdout, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away needs root")
def test_the_cache_of_another_user_is_refused(own: ImageStore, write: Write) -> None:
    own.get(write(BARE))
    os.chown(own.directory / "layers", 1, 1)
    with pytest.raises(ImageError, match="belongs to another user: set CWM_ENV_CACHE"):
        own.get(write(recipe("true")))


def test_errors_of_the_disk_name_the_file(tmp_path: Path, write: Write) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match=r"Not a directory \(.*/file/store"):
        ImageStore(tmp_path / "file" / "store").get(write(BARE))


def test_names_of_progress_lines_say_which_image(own: ImageStore, write: Write) -> None:
    lines: list[str] = []
    own.get(name := write(BARE), progress=lines.append)
    assert lines
    assert all(line.startswith(f"{name}: ") for line in lines)
