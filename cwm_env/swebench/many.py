"""Many evaluations, a bounded number at once; those that are done already are not run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from cwm_env.errors import CwmEnvError, InfrastructureError
from cwm_env.swebench.evaluate import Evaluator
from cwm_env.swebench.predictions import Prediction
from cwm_env.swebench.verdicts import Evaluation
from cwm_env.tasks.swebench import Record
from cwm_env.threads import run_all


@dataclass(slots=True)
class Results:
    """What came of them, by instance."""

    found: dict[str, Evaluation] = field(default_factory=dict)
    failed: dict[str, CwmEnvError] = field(default_factory=dict)
    """Those without verdicts: something of ours failed, or there is no image or script for them."""
    again: int = 0
    """How many were done already."""


def evaluate_all(
    evaluator: Evaluator,
    records: Sequence[Record],
    predictions: Mapping[str, Prediction],
    *,
    parallel: int = 1,
    tick: Callable[[Results], None] = lambda _: None,
    interrupt: Callable[[], None] = lambda: None,
) -> Results:
    """Evaluate each record that has a prediction.

    Args:
        tick: called several times a second in the calling thread.
        interrupt: called when this thread is interrupted, again and again until every evaluation has ended: it takes
            their sandboxes away.
    """
    results = Results()
    left = []
    for record in records:
        prediction = predictions.get(record.instance_id)
        earlier = prediction and evaluator.done(record, prediction)
        if earlier:
            results.found[record.instance_id] = earlier
            results.again += 1
        elif prediction:
            left.append((record, prediction))

    def one(record: Record, prediction: Prediction) -> None:
        try:
            results.found[record.instance_id] = evaluator.evaluate(record, prediction)
        except CwmEnvError as error:
            results.failed[record.instance_id] = error
        except OSError as error:  # the disk of the reports
            results.failed[record.instance_id] = InfrastructureError(f"a report cannot be written: {error}")

    calls = [partial(one, *each) for each in left]
    run_all(calls, parallel, tick=lambda: tick(results), interrupt=interrupt, name="evaluation")
    return results
