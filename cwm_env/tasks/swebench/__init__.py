"""SWE-bench and its kin: records read from files and data sets, and the ``Task`` that each becomes."""

from cwm_env.tasks.swebench.ids import as_record
from cwm_env.tasks.swebench.kept import keep, kept, kept_ids
from cwm_env.tasks.swebench.records import Record, load, parse
from cwm_env.tasks.swebench.task import runner_of, task_of

__all__ = ["Record", "as_record", "keep", "kept", "kept_ids", "load", "parse", "runner_of", "task_of"]
