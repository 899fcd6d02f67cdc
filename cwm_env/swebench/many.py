"""Many evaluations, a bounded number at once; those that are done already are not run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from cwm_env.errors import CwmEnvError, InfrastructureError
from cwm_env.swebench.evaluate import Evaluator
from cwm_env.swebench.predictions import Prediction
from cwm_env.swebench.verdicts import Evaluation
from cwm_env.tasks.swebench import Record


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

    with ThreadPoolExecutor(parallel, thread_name_prefix="evaluation") as pool:
        futures: list[Future[None]] = [pool.submit(one, *each) for each in left]
        waiting = set(futures)
        try:
            while waiting:
                waiting = wait(waiting, timeout=0.1).not_done
                tick(results)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while any(future.running() for future in futures):
                interrupt()
                wait(waiting, timeout=0.2)
            raise
    for future in futures:
        future.result()
    return results
