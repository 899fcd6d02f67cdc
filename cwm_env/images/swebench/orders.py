"""All that an instance's image is made from, pinned: written by ``prepare``, read by whoever asks for the image."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cwm_env.errors import RecipeError
from cwm_env.images.interpreters import Interpreter
from cwm_env.images.plan import HostSystem, Plan, bare, on_host, stack
from cwm_env.images.swebench.index import File
from cwm_env.images.swebench.layers import Environment, Testbed
from cwm_env.images.swebench.scripts import ENVIRONMENT
from cwm_env.tasks.swebench import Record, kept
from cwm_env.types import Image

PREFIX = "swebench:"
WORKDIR = "/testbed"


@dataclass(frozen=True, slots=True)
class Order:
    """What to build."""

    instance_id: str
    repo: str
    commit: str
    source: str
    """What git fetches the commit from; no part of the image's identity."""
    python: Interpreter
    pins: tuple[str, ...]
    """``name==version``, all of the environment."""
    tools: tuple[File, ...]
    """Files that the repository's own build fetches."""
    pre_install: tuple[str, ...]
    install: str
    version: str = ""
    """The version that the repository takes from git's tags, which are not there."""
    hidden: tuple[str, ...] = ()
    """Directories of the machine that hold later releases of the project."""
    fingerprint: str = ""
    """Of what was asked: an order for something else is made anew."""
    notes: tuple[str, ...] = ()
    """What differs from what was asked, a sentence each."""

    def plan(self, cache: Path) -> Plan:
        """Its layers, and the image that they make."""
        env = {**entered(bare().env), "LC_ALL": "C.UTF-8"}
        if self.version:
            env["SETUPTOOLS_SCM_PRETEND_VERSION"] = self.version
        image = on_host(self.python, cache, bare())
        image = replace(image, workdir=WORKDIR, env=env, hidden=(*image.hidden, *self.hidden))
        testbed = Testbed(
            self.repo, self.commit, self.source, self.tools, self.pre_install, self.install, tuple(sorted(env.items()))
        )
        layers = (HostSystem(self.python), Environment(self.pins, self.python), testbed)
        return stack(PREFIX + self.instance_id, [(layer, image) for layer in layers], cache)


@dataclass(frozen=True, slots=True)
class Official:
    """The official image of an instance, from a registry."""

    instance_id: str
    repo: str
    commit: str
    reference: str
    """As ``cwm_env.images.foreign`` takes it: ``docker://HOST/NAME:TAG``."""

    def adapted(self, image: Image) -> Image:
        """The same image, whose commands find the environment without activating it."""
        env = entered(image.env)
        digest = hashlib.sha256(json.dumps([image.digest, WORKDIR, sorted(env.items())]).encode()).hexdigest()
        return replace(
            image, name=PREFIX + self.instance_id, digest=f"sha256:{digest}", workdir=WORKDIR, user="root", env=env
        )


def official(record: Record, registry: str) -> Official:
    """Where the official image of a record lies.

    Args:
        registry: its host, with a path where it keeps copies.
    """
    name = record.image or f"swebench/sweb.eval.x86_64.{record.instance_id.replace('__', '_1776_')}:latest".lower()
    reference = f"docker://{registry}/{name}"
    return Official(record.instance_id, record.repo, record.base_commit, reference)


def entered(env: Mapping[str, str]) -> dict[str, str]:
    """Variables as ``conda activate testbed`` leaves them."""
    path = [part for part in env["PATH"].split(":") if part != f"{ENVIRONMENT}/bin"]
    own = {"PATH": ":".join((f"{ENVIRONMENT}/bin", *path)), "CONDA_PREFIX": ENVIRONMENT, "CONDA_DEFAULT_ENV": "testbed"}
    return {**env, **own}


def save(order: Order | Official, cache: Path) -> None:
    """Keep an order, in place of an earlier one."""
    path = _path(order.instance_id, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{secrets.token_hex(8)}")
    beside.write_text(json.dumps(asdict(order), indent=1), encoding="utf-8")
    beside.rename(path)


def find(instance_id: str, cache: Path) -> Order | Official | None:
    """The order that is kept for an instance; None where there is none, or one of another version of this package."""
    try:
        fields = json.loads(_path(instance_id, cache).read_bytes())
        if "reference" in fields:
            return Official(**fields)
        fields["python"] = Interpreter(**fields["python"])
        fields["tools"] = tuple(File(**each) for each in fields["tools"])
        fields |= {key: tuple(fields.get(key, ())) for key in ("pins", "pre_install", "hidden", "notes")}
        return Order(**fields)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_order(name: str) -> bool:
    """Whether a name means the image of an instance of SWE-bench."""
    return name.startswith(PREFIX)


def of(name: str, cache: Path) -> Order | Official | None:
    """The order of the image ``swebench:ID``; None where nothing was prepared for the record that is kept.

    Raises:
        TaskError: no record of that id is kept.
    """
    record = kept(name.removeprefix(PREFIX))
    order = find(record.instance_id, cache)
    return order if order and (order.repo, order.commit) == (record.repo, record.base_commit) else None


def unprepared(name: str) -> RecipeError:
    """What is wrong with ``swebench:ID`` where nothing was prepared for it, and what mends it."""
    instance_id = name.removeprefix(PREFIX)
    return RecipeError(f"there is no image {name}: `cwm-env swebench build --instances {instance_id}` builds it")


def _path(instance_id: str, cache: Path) -> Path:
    return cache / "swebench" / "orders" / f"{instance_id}.json"
