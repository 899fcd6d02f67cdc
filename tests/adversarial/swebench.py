"""Every exploit that a patch can carry, as predictions for one instance: what the official verdict says, and ours.

python -m tests.adversarial.swebench ID [EXPLOIT...]    prints the table of docs/swebench.md
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from cwm_env.grading.forge import forged_patches
from cwm_env.images import ImageStore
from cwm_env.sandbox.base import Backend
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.swebench import Evaluation, Evaluator, Official, Prediction
from cwm_env.tasks.swebench import Record, kept, no_tests, task_of
from cwm_env.types import Image

SECONDS = 120.0
"""For each run of the tests: some exploits never end."""


def cheated(
    evaluator: Evaluator, backend: Backend, image: Image, record: Record, names: Collection[str] = ()
) -> Iterator[tuple[str, Evaluation]]:
    """Name and evaluation of each exploit, or of those in ``names``."""
    for name, patch in forged_patches(backend, image, task_of(record, image.name, no_tests())):
        if not names or name in names:
            yield name, evaluator.evaluate(record, Prediction(record.instance_id, name, patch))


def main() -> None:
    """Print the table."""
    record, backend = kept(sys.argv[1]), backend_named("namespaces")
    image = ImageStore().get(f"swebench:{record.instance_id}")
    with Official() as official, tempfile.TemporaryDirectory() as place:
        evaluator = Evaluator(
            Path(place), "cheat", backend=backend, images=lambda _: image, official=official, timeout=SECONDS
        )
        for name, found in cheated(evaluator, backend, image, record, sys.argv[2:]):
            why = found.hardened.reason.partition(", first")[0]
            print(f"| `{name}` | {found.official.outcome} | {found.hardened.outcome} | {why} |", flush=True)
    backend.close()


if __name__ == "__main__":
    main()
