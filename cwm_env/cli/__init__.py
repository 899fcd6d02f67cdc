"""The command line, ``cwm-env``: one module per command, loaded when it is called.

Exit codes:
    0    done
    1    done, and the answer is no: a task that cannot be admitted, a machine that cannot run sandboxes
    2    something that was given is wrong: an unknown task, a broken file, a bad option
    3    the infrastructure failed: no sandbox, no image, no space, no endpoint
    130  interrupted by Ctrl-C or SIGTERM; everything was cleaned up
"""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import click

from cwm_env import __version__
from cwm_env.cli.output import say
from cwm_env.errors import CwmEnvError

COMMANDS = {
    "run": "cwm_env.cli.run:run",
    "play": "cwm_env.cli.play:play",
    "tasks": "cwm_env.cli.tasks:tasks",
    "images": "cwm_env.cli.images:images",
    "swebench": "cwm_env.cli.swebench:swebench",
    "grade": "cwm_env.cli.grade:grade",
    "replay": "cwm_env.cli.replay:replay",
    "trace": "cwm_env.cli.trace:trace",
    "debug": "cwm_env.cli.debug:debug",
    "serve": "cwm_env.cli.serve:serve",
    "tokens": "cwm_env.cli.tokens:tokens",
    "doctor": "cwm_env.cli.doctor:doctor",
    "prune": "cwm_env.cli.prune:prune",
}
"""Name to ``module:command``, in the order of ``--help``."""

INTERRUPTED = 130


class _LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cwm-env")
def cli() -> None:
    """Agents that speak only bash work on real repositories; hidden tests give the reward.

    \b
    Examples:
      cwm-env tasks list
      cwm-env run --all --policy gold --parallel 2
      cwm-env play TASK

    Exit codes: 0 done; 1 the answer is no; 2 bad input; 3 the infrastructure failed; 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line, and exit with its code. Errors of ours are one sentence on standard error."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = cli.main(arguments, prog_name="cwm-env", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except CwmEnvError as error:
        say(str(error))
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(number: int, frame: FrameType | None) -> Any:
    raise KeyboardInterrupt
