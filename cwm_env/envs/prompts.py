"""What a policy reads: the instruction, and what each action came to."""

from __future__ import annotations

from cwm_env.errors import InfrastructureError
from cwm_env.types import CommandResult, Grade, Limits, Task


def first(task: Task, limits: Limits) -> str:
    """The first observation: the instruction, and the budget."""
    return (
        f"{task.instruction.rstrip()}\n\n[{_turns(limits.turns)} left; a command may take {limits.command_timeout:g} s]"
    )


def after(result: CommandResult, turns_left: int, out_of: str | None, grade: Grade | None) -> str:
    """The output of an action, then one line about it, which no length of output can push out."""
    output = result.output if not result.output or result.output.endswith("\n") else result.output + "\n"
    facts = [f"exit code {result.exit_code}", result.cwd]
    if result.timed_out:
        facts.append("stopped: it reached its time limit")
    if result.shell_restarted:
        facts.append("the shell had ended; a new one has its state")
    if result.truncated_bytes:
        facts.append(f"{result.truncated_bytes} bytes of output left out")
    if result.submitted:
        facts.append("submitted")
    elif out_of:
        facts.append(f"the episode is out of {out_of}")
    else:
        facts.append(f"{_turns(turns_left)} left")
    if grade is not None:
        facts.append(grade.outcome)
    return f"{output}[{'; '.join(facts)}]"


def failed(error: InfrastructureError) -> str:
    """The last observation of an episode that we, not the policy, brought to its end."""
    return f"[the environment failed, through no fault of yours: {error}]"


def _turns(count: int) -> str:
    return "1 turn" if count == 1 else f"{count} turns"
