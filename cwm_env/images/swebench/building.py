"""Images of many instances: prepared where that is missing, and built."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cwm_env.errors import CwmEnvError, InputError
from cwm_env.images.interpreters import Interpreter
from cwm_env.images.plan import HostSystem, bare, on_host, stack
from cwm_env.images.store import ImageStore
from cwm_env.images.swebench import orders
from cwm_env.images.swebench.prepare import Asked, prepare
from cwm_env.images.swebench.wheels import Workbench
from cwm_env.tasks.swebench import Record
from cwm_env.types import Image

PUBLIC = "https://github.com"
"""Where repositories are fetched from without a mirror."""


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one instance."""

    instance_id: str
    image: Image | None
    error: CwmEnvError | None
    """Why there is no image."""
    notes: tuple[str, ...]
    """What in the environment differs from what was asked, a sentence each."""
    seconds: float


def build(store: ImageStore, asked: Asked, *, progress: Callable[[str], None] | None = None) -> Image:
    """The image of one instance, prepared and built as far as it is missing.

    Raises:
        InputError: its environment cannot be read.
        ImageError: something cannot be had, or does not build.
        DiskFull: no space is left where images are kept.
        SandboxError: a sandbox to build it in could not be made.
    """
    name = orders.PREFIX + asked.record.instance_id

    def say(text: str) -> None:
        if progress:
            progress(f"{name}: {text}")

    order = orders.find(asked.record.instance_id, store.directory)
    if not isinstance(order, orders.Order) or order.fingerprint != asked.fingerprint:
        with store.working() as room:
            order = prepare(asked, partial(_base, store), room, store.tools(say))
        orders.save(order, store.directory)
    elif order.source != asked.source:
        order = replace(order, source=asked.source)
        orders.save(order, store.directory)
    return store.build(order.plan(store.directory), progress=progress)


def fetch(store: ImageStore, official: orders.Official, *, progress: Callable[[str], None] | None = None) -> Image:
    """The official image of one instance.

    Raises:
        ImageError: it cannot be fetched.
        DiskFull: no space is left where images are kept.
        SandboxError: a sandbox to unpack it in could not be made.
    """
    image = store.get(official.reference, progress=progress)
    orders.save(official, store.directory)
    return official.adapted(image)


def build_all(
    store: ImageStore,
    wanted: Sequence[Asked | orders.Official],
    *,
    parallel: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Built]:
    """Build or fetch many, each told as soon as it is done; one that fails stops no other."""

    def one(asked: Asked | orders.Official) -> Built:
        started = time.monotonic()
        image, failure = None, None
        instance_id = asked.record.instance_id if isinstance(asked, Asked) else asked.instance_id
        try:
            making = build if isinstance(asked, Asked) else fetch
            image = making(store, asked, progress=progress)  # type: ignore[arg-type]
        except CwmEnvError as error:
            failure = error
        order = orders.find(instance_id, store.directory) if image else None
        notes = order.notes if isinstance(order, orders.Order) else ()
        return Built(instance_id, image, failure, notes, time.monotonic() - started)

    with ThreadPoolExecutor(parallel, thread_name_prefix="cwm-env build") as pool:
        tasks = [pool.submit(one, asked) for asked in wanted]
        try:
            for done in as_completed(tasks):
                yield done.result()
        finally:
            for task in tasks:
                task.cancel()


def ask(record: Record, mirrors: Path | None, environments: Path | None) -> Asked:
    """What the image of a record is asked to be.

    Args:
        mirrors: a directory with ``OWNER/NAME.git``, bare or not; None, or no such mirror, for the public address.
        environments: a directory with ``ID.yml``, the pinned environments of official images.

    Raises:
        InputError: the record names no commit.
    """
    if not record.base_commit:
        raise InputError(f"{record.instance_id}: names no base_commit")
    places = [mirrors / f"{record.repo}{ending}" for ending in (".git", "")] if mirrors else []
    mirror = next((place for place in places if place.is_dir()), None)
    source = str(mirror.resolve()) if mirror else f"{PUBLIC}/{record.repo}"
    file = environments / f"{record.instance_id}.yml" if environments else None
    return Asked(record, source, file if file and file.is_file() else None)


def _base(store: ImageStore, python: Interpreter) -> Image:
    """The machine's system with an interpreter, and what a workshop has."""
    image = on_host(python, store.directory, bare())
    return store.build(stack("", [(HostSystem(python), image), (Workbench(python), image)], store.directory))
