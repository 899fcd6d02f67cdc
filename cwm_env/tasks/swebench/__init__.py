"""SWE-bench and its kin: records read from files and data sets, and the ``Task`` that each becomes."""

from cwm_env.tasks.swebench.kept import keep, kept, kept_ids, no_tests
from cwm_env.tasks.swebench.records import Record, load, parse
from cwm_env.tasks.swebench.task import WORKDIR, reported_ids, runner_of, task_of

__all__ = ["WORKDIR", "Record", "keep", "kept", "kept_ids", "load", "no_tests", "parse", "reported_ids", "runner_of", "task_of"]
