"""Tasks: Harbor's directories read into ``cwm_env.types.Task``, and the shipped ones by id."""

from cwm_env.tasks.expected import write_expected
from cwm_env.tasks.harbor import load_task
from cwm_env.tasks.registry import digest, list_tasks, resolve

__all__ = ["digest", "list_tasks", "load_task", "resolve", "write_expected"]
