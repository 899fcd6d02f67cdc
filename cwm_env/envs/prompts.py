"""What a policy reads: the instruction, and what each action came to."""

from __future__ import annotations

from cwm_env.errors import InfrastructureError
from cwm_env.types import CommandResult, Grade, Limits, Task

# Said in other words; and the CPU quota, which hurts nobody, and is hit or not by chance.
_UNTOLD = ("output", "command_timeout", "cpus")


def first(task: Task, limits: Limits) -> str:
    """The first observation: the instruction, and the budget."""
    return (
        f"{task.instruction.rstrip()}\n\n[{_turns(limits.turns)} left; a command may take {limits.command_timeout:g} s]"
    )


def after(result: CommandResult, turns_left: int, out_of: str | None, grade: Grade | None) -> str:
    """The output or screen of an action, then one line about it, which no length of output can push out."""
    if result.plain:
        shown, facts = _ended(result.output), [f"exit code {result.exit_code}", result.cwd]
    else:
        shown, facts = _shown(result), _facts(result)
    if result.submitted:
        facts.append("submitted")
    elif out_of:
        facts.append(f"the episode is out of {out_of}")
    else:
        facts.append(f"{_turns(turns_left)} left")
    if grade is not None:
        facts.append(grade.outcome)
    return f"{shown}[{'; '.join(facts)}]"


def failed(error: InfrastructureError) -> str:
    """The last observation of an episode that we, not the policy, brought to its end."""
    return f"[the environment failed, through no fault of yours: {error}]"


def _shown(result: CommandResult) -> str:
    shown = _ended(result.output if result.screen is None else result.screen)
    if result.late_output:
        return f"[from jobs in the background, since the last command:]\n{_ended(result.late_output)}[end]\n{shown}"
    return shown


def _facts(result: CommandResult) -> list[str]:
    facts = ["still running" if result.running else f"exit code {result.exit_code}", result.cwd]
    if result.timed_out and not result.running:
        facts.append("stopped: it reached its time limit")
    if result.shell_restarted:
        facts.append("the shell had ended; a new one has its state")
    if result.surviving_jobs:
        facts.append(f"jobs that go on: {', '.join(result.surviving_jobs)}")
    if result.truncated_bytes:
        where = f", kept in {result.output_file}" if result.output_file else ""
        facts.append(f"{result.truncated_bytes} bytes of output left out{where}")
    if full := [name for name in result.limits_hit if name not in _UNTOLD]:
        facts.append(f"limits reached: {', '.join(full)}")
    return facts


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _turns(count: int) -> str:
    return "1 turn" if count == 1 else f"{count} turns"
