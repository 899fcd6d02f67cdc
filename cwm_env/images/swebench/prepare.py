"""From a record to the order of its image: which Python, which packages, and what its own build needs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cwm_env.errors import ImageError
from cwm_env.images import interpreters
from cwm_env.images.downloads import pin_of
from cwm_env.images.interpreters import Interpreter
from cwm_env.images.plan import Tools
from cwm_env.images.recipe import canonical
from cwm_env.images.swebench import checkouts, conda, requirements, vendored
from cwm_env.images.swebench.checkouts import Checkout
from cwm_env.images.swebench.index import Dated, File, Upstream, upstream_in
from cwm_env.images.swebench.orders import Order
from cwm_env.images.swebench.requirements import joined, pinned
from cwm_env.images.swebench.specs import Spec, extras_of, spec_of
from cwm_env.images.swebench.wheels import Workshop, gather, keep, missing, pick, pip_of, workshop
from cwm_env.tasks.swebench import Record
from cwm_env.types import Image

_RELEASES = {"3.6": "2016-12-23", "3.7": "2018-06-27", "3.8": "2019-10-14", "3.9": "2020-10-05", "3.10": "2021-10-04"}
_RELEASES |= {"3.11": "2022-10-24", "3.12": "2023-10-02", "3.13": "2024-10-07", "3.14": "2025-10-07"}
_UNTIL_WHEELS = timedelta(days=180)
"""How long after an interpreter's release most packages had wheels for it."""
_ALWAYS = ("setuptools", "wheel")
"""What conda puts into every environment besides pip."""
_FORMAT = 2
_TRIES = 12


@dataclass(frozen=True, slots=True)
class Asked:
    """What an image is asked to be."""

    record: Record
    source: str
    """Where git fetches from."""
    environment: Path | None = None
    """The ``environment.yml`` of the official image."""

    @property
    def fingerprint(self) -> str:
        """Of all that matters in it."""
        raw = self.record.raw
        text = self.environment.read_text(encoding="utf-8") if self.environment else ""
        parts = [_FORMAT, self.record.repo, self.record.base_commit, self.record.version, self.record.created_at]
        parts += [text, raw.get("install_config"), raw.get("environment"), self.record.eval_script]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def given(self) -> conda.Pinned | None:
        """The pinned environment, of its file or of the record itself."""
        if self.environment:
            return conda.read(self.environment)
        text = self.record.raw.get("environment")
        return conda.parse(text, "environment") if isinstance(text, str) and "dependencies:" in text else None


def prepare(asked: Asked, base: Callable[[Interpreter], Image], room: Path, tools: Tools) -> Order:
    """Find out all that an image is made from, and bring its packages here.

    Args:
        base: the image of a machine's system with an interpreter.
        room: a directory that is not there yet, for what is needed meanwhile.

    Raises:
        ImageError: the commit, the interpreter or a package cannot be had, or the repository does not build.
        InputError: the environment cannot be read.
    """
    record = asked.record
    upstream = upstream_in(tools.downloads.directory)
    spec = spec_of(record, upstream)
    given = asked.given()
    python, notes = _interpreter(given.python if given else spec.python or _usual(record), record)
    notes += [f"`{command}` was left out: it changes the machine's system" for command in spec.dropped]
    tools.progress("fetching the commit")
    tree = checkouts.make(asked.source, record.base_commit, room / "checkout")
    version = tree.version(record.version)
    wanted = () if given else _wanted(spec, tree)
    index = Dated(upstream, _until(record, tree, python, wanted, upstream), tuple(pinned(wanted)))
    with workshop(python, base(python), room, index, tools, {"checkout.tar": tree.archive}) as shop:
        tools.progress("building the repository, to see what that needs")
        shop.edit(spec.pre_install)
        project, files = _probe(shop, index, spec, version)
        if given:
            pins, lost = _gathered(shop, index, given, project, python, tools)
            notes += _completed(shop, index, [pin for pin in pins if pin not in lost], project, spec)
        else:
            tools.progress("resolving the environment")
            lost = _resolve(shop, index, wanted, spec, project)
    made = _made(shop, project)
    if given:
        keep(shop, python, pins, tools)
        gone = set(missing(python, pins, tools.downloads))
        notes += [
            f"{pin} is not in the environment: {lost.get(pin, 'there is no wheel of it')}" for pin in sorted(gone)
        ]
        names = {pin.partition("==")[0] for pin in pins}
        more = [pin for pin in made if pin.partition("==")[0] not in names]
        pins = [*(pin for pin in pins if pin not in gone), *more]
    else:
        notes += lost.values()
        pins = [pip_of(python), *made]
        keep(shop, python, pins, tools)
    if vendored.holds(project):
        pins = vendored.with_older_pip(pins, _time(record.created_at) or tree.date(), upstream)
    return Order(
        instance_id=record.instance_id,
        repo=record.repo,
        commit=record.base_commit,
        source=asked.source,
        python=python,
        pins=tuple(sorted(pins)),
        tools=files,
        pre_install=spec.pre_install,
        install=spec.install,
        version=version,
        hidden=vendored.hidden(python) if vendored.holds(project) else (),
        fingerprint=asked.fingerprint,
        notes=tuple(notes),
    )


def _interpreter(version: str, record: Record) -> tuple[Interpreter, list[str]]:
    """The interpreter of a version, or of the next one that is here."""
    try:
        return interpreters.find(version), []
    except ImageError:
        asked = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if asked >= interpreters.OLDEST or asked < (3, 4):
            raise
        found = interpreters.find(".".join(map(str, interpreters.OLDEST)))
        return found, [f"Python {found.minor} in place of {version}, which is not supported"]


def _usual(record: Record) -> str:
    """The latest interpreter here that was a year old when the record was made."""
    made = _time(record.created_at) or datetime.now(UTC)
    old = [each for each in interpreters.installed() if _released(each) + timedelta(days=365) <= made]
    return old[-1] if old else interpreters.installed()[0]


def _released(minor: str) -> datetime:
    return datetime.fromisoformat(_RELEASES.get(minor, "2026-10-01")).replace(tzinfo=UTC)


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _until(record: Record, tree: Checkout, python: Interpreter, wanted: Sequence[str], upstream: Upstream) -> datetime:
    """The day of which the index is asked.

    That of the record; but half a year after the interpreter's release, for there were few wheels before, and not
    before the newest release that is asked for by its version.
    """
    dates = [_time(record.created_at) or tree.date(), _released(python.minor) + _UNTIL_WHEELS]
    for name, version in pinned(wanted).items():
        dates += [file.upload_time for file in upstream.page(name) if file.version == version and file.upload_time]
    return max(dates)


def _wanted(spec: Spec, tree: Checkout) -> tuple[str, ...]:
    """What the environment is asked to have, besides what the repository itself says."""
    texts = [list(requirements.read(name, tree.read)) for name in spec.files if tree.read(name) is not None]
    loose = [list(conda.loose(text)) for name in spec.conda_files if (text := tree.read(name)) is not None]
    return tuple(joined(_ALWAYS, *texts[:1], *loose[:1], spec.requirements))


def _probe(shop: Workshop, index: Dated, spec: Spec, version: str) -> tuple[str, tuple[File, ...]]:
    """The project's name, and what its build fetched."""
    editable = ("-e", ".") if re.search(r"(^|\s)(-e|--editable|develop)(\s|$)", spec.install) else (".",)
    try:
        project = shop.probe(version, editable)
    except ImageError:
        if index.until is None:
            raise
        index.until, until = None, index.until  # nothing of that day builds it
        index.fetched.clear()
        project = shop.probe("", editable)
        index.until = until
    files = tuple(sorted(index.fetched, key=lambda file: file.name))
    index.never = (canonical(project),)
    return project, files


def _gathered(
    shop: Workshop, index: Dated, given: conda.Pinned, project: str, python: Interpreter, tools: Tools
) -> tuple[list[str], dict[str, str]]:
    """The pins, whose wheels are made as far as they can be had; and why they cannot."""
    pins = [pin for pin in given.pins if pin.partition("==")[0] != canonical(project)]
    pins += [] if any(pin.startswith("pip==") for pin in pins) else [pip_of(python)]
    index.until = None
    pick(python, pins, index.upstream, tools)
    return pins, gather(shop, missing(python, pins, tools.downloads), index.upstream)


def _completed(shop: Workshop, index: Dated, pins: Sequence[str], project: str, spec: Spec) -> list[str]:
    """Make what a pinned environment lacks of what the repository depends on, as of the day of its newest package."""
    extras = extras_of(spec.install)
    names = {pin.partition("==")[0] for pin in pins}
    if not extras and shop.requires(project) <= names:
        return []
    days = [
        file.upload_time
        for name, version in pinned(pins).items()
        for file in index.upstream.page(name)
        if file.version == version and file.upload_time
    ]
    index.until = max(days, default=None)
    try:
        shop.complete(pins, f"/testbed{extras}")
    except ImageError as error:
        return [f"the pinned environment could not be completed: {str(error).splitlines()[-1]}"]
    return []


def _resolve(shop: Workshop, index: Dated, wanted: Sequence[str], spec: Spec, project: str) -> dict[str, str]:
    """Make the wheels of what pip takes on that day; a sentence for each that cannot be had, and where it is none."""
    asked = [each for each in wanted if requirements.name_of(each) != canonical(project)]
    target = f"/testbed{extras_of(spec.install)}"
    unknown = [each for each in asked if not index.upstream.page(requirements.name_of(each))]
    asked = [each for each in asked if each not in unknown]
    notes = {each: f"{each} is not in the environment: the index does not know it" for each in unknown}
    for _ in range(_TRIES):
        try:
            shop.resolve(asked, target=target)
            return notes
        except ImageError as error:
            failure = error
            asked, lost = requirements.without_culprits(asked, str(error), spec.requirements)
            if lost:
                notes |= {each: f"{each} is not in the environment: it cannot be had here" for each in lost}
            elif index.until is not None:
                index.until = None
                notes[""] = "the packages are today's: those of the record's day do not go together"
            else:
                raise
    raise failure


def _made(shop: Workshop, project: str) -> list[str]:
    """The pins of the wheels that were made, without the repository's own and pip's."""
    pins = [pin_of(wheel) for wheel in shop.wheels()]
    return [pin for pin in pins if pin.partition("==")[0] not in (canonical(project), "pip")]
