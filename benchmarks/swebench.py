"""What an evaluation of a SWE-bench instance takes, and what of it is ours: seconds, on the embedded sandbox.

    python -m benchmarks.swebench [INSTANCE...] [--parallel N] [--mirrors DIRECTORY [--environments DIRECTORY]]

The instances' records are kept and their images built (``cwm-env swebench build``); each is evaluated with its gold
patch. *tests* are the evaluation script and our own run of the tests, from start to end; all else is overhead: clones,
patches, reports. The peer is the same script in one clone without any harness. With ``--mirrors`` each image is first
built once more, from an empty cache that they share, one after the other: *build*.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cwm_env.images import ImageStore
from cwm_env.images.swebench.building import ask, build
from cwm_env.sandbox.base import Backend
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.swebench import Evaluation, Evaluator, Official, harness, load_predictions
from cwm_env.swebench.many import evaluate_all
from cwm_env.tasks.swebench import Record, kept, kept_ids
from cwm_env.types import Image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instances", nargs="*", help="ids of kept records; default: all that have an image")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--mirrors", type=Path, help="as of cwm-env swebench build")
    parser.add_argument("--environments", type=Path, help="as of cwm-env swebench build")
    arguments = parser.parse_args()
    store, backend = ImageStore(), backend_named("namespaces")
    found = {name: store.find(f"swebench:{name}") for name in arguments.instances or kept_ids()}
    images = {name: image for name, image in found.items() if image is not None}
    records = [kept(name) for name in images]
    # First, for the sandboxes' program is then found where it stays, and not in the cache of the builds.
    clones = {name: _clone(backend, image) for name, image in images.items()}
    builds = _builds(records, arguments.mirrors, arguments.environments) if arguments.mirrors else {}
    with Official() as official, tempfile.TemporaryDirectory() as place:
        evaluator = Evaluator(
            Path(place),
            "benchmark",
            backend=backend,
            images=lambda record: images[record.instance_id],
            official=official,
        )
        scripts = {each.instance_id: official.script(official.row(each)) for each in records}
        started = time.perf_counter()
        results = evaluate_all(evaluator, records, load_predictions("gold", records), parallel=arguments.parallel)
        whole = time.perf_counter() - started
    peers = {each.instance_id: _plain(backend, images[each.instance_id], each, scripts) for each in records}
    backend.close()
    for name, error in results.failed.items():
        print(f"{name}: {error}")
    _print(results.found, builds, clones, peers)
    hour = len(results.found) / whole * 3600
    print(f"\n{hour:.0f} instances an hour at --parallel {arguments.parallel}, on {os.cpu_count()} cores")


def _builds(records: Sequence[Record], mirrors: Path, environments: Path | None) -> dict[str, float]:
    """Seconds of each image, of which those before it may have brought a part."""
    seconds = {}
    kept = os.environ.get("CWM_ENV_CACHE")
    with tempfile.TemporaryDirectory() as place:
        os.environ["CWM_ENV_CACHE"] = place
        try:
            store = ImageStore()
            for record in records:
                started = time.perf_counter()
                build(store, ask(record, mirrors, environments))
                seconds[record.instance_id] = time.perf_counter() - started
        finally:
            os.environ.pop("CWM_ENV_CACHE")
            os.environ.update({} if kept is None else {"CWM_ENV_CACHE": kept})
    return seconds


def _clone(backend: Backend, image: Image) -> float:
    started = time.perf_counter()
    backend.create(image, harness.LIMITS).close()
    return time.perf_counter() - started


def _plain(backend: Backend, image: Image, record: Record, scripts: dict[str, str]) -> float:
    """Seconds of the patch and the script in one clone."""
    started = time.perf_counter()
    clone = backend.create(image, harness.LIMITS)
    try:
        harness.evaluate(clone, image, record.patch, scripts[record.instance_id], harness.SECONDS)
    finally:
        clone.close()
    return time.perf_counter() - started


def _print(
    found: dict[str, Evaluation], builds: dict[str, float], clones: dict[str, float], peers: dict[str, float]
) -> None:
    columns = ("build", "clone", "tests", "overhead", "official", "hardened", "script alone")
    print(f"{'instance':<40}" + "".join(f"{name:>14}" for name in columns))
    overheads = []
    for name, each in found.items():
        seconds = each.seconds
        whole = seconds["official"] + seconds["hardened"]
        tests = seconds["official_tests"] + seconds["hardened_tests"]
        overheads.append(whole - tests)
        both = (seconds["official"], seconds["hardened"])
        values = (builds.get(name, math.nan), clones[name], tests, overheads[-1], *both, peers[name])
        print(f"{name:<40}" + "".join(f"{'-' if math.isnan(value) else format(value, '.2f'):>14}" for value in values))
    if overheads:
        print(f"\noverhead: median {statistics.median(overheads):.2f} s, highest {max(overheads):.2f} s")


if __name__ == "__main__":
    main()
