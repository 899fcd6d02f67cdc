"""``cwm-env serve``: episodes over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cwm_env.errors import InputError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="0 takes a free one.")
@click.option("--state", type=click.Path(path_type=Path), help="Where tokens, journals and trajectories are kept.")
@click.option("--tasks", multiple=True, type=click.Path(path_type=Path), help="A directory of further tasks.")
@click.option("--lease", type=click.FloatRange(min=0.1), help="Seconds that an episode lives without a request.")
@click.option("--episodes", type=click.IntRange(min=1), help="Alive at once.")
@click.option("--episodes-per-token", type=click.IntRange(min=1), help="The same for each token.")
@click.option("--memory", type=click.IntRange(min=1), help="Bytes, added up over the limits of all episodes.")
@click.option("--memory-per-token", type=click.IntRange(min=1), help="Bytes, over the limits of a token's episodes.")
@click.option("--waiting", type=click.IntRange(min=0), help="Requests for an episode that may wait.")
@click.option("--waiting-per-token", type=click.IntRange(min=0), help="The same for each token.")
@click.option("--patience", type=click.FloatRange(min=0), help="Seconds that such a request waits at most.")
@click.option("--resets", type=click.IntRange(min=1), help="Sandboxes made at once.")
@click.option("--resets-per-token", type=click.IntRange(min=1), help="The same for each token.")
@click.option("--gradings", type=click.IntRange(min=1), help="Hidden tests run at once.")
@click.option(
    "--cpu-limits/--no-cpu-limits",
    default=True,
    help="Without: no limit `cpus`, no equal shares, and more steps a second among thousands of light episodes.",
)
@click.option("--warm", type=click.IntRange(min=0), help="Ready sandboxes kept for each image in use.")
@click.option("--grace", type=click.FloatRange(min=0), help="Seconds for running steps at shutdown.")
@click.option(
    "--keep", type=click.FloatRange(min=0), help="Seconds that episodes wait for the next server after a kill."
)
@click.option("--tls-certificate", type=click.Path(path_type=Path, exists=True))
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True))
@click.option("--no-tokens", is_flag=True, help="Ask nobody for a token, though there are some; on loopback only.")
def serve(
    host: str, port: int, tls_certificate: Path | None, tls_key: Path | None, no_tokens: bool, **given: Any
) -> int:
    """Serve episodes until SIGTERM or Ctrl-C. Without any token, to this machine only.

    \b
    Examples:
      cwm-env serve
      cwm-env tokens create training && cwm-env serve --host 0.0.0.0 --port 8000
    """
    try:
        from cwm_env.server.serving import serve as run
        from cwm_env.server.settings import Settings
        from cwm_env.server.tokens import TokenFile
    except ModuleNotFoundError as error:
        raise InputError(f"the server needs {error.name}: pip install 'cwm-env[server]'") from None
    given["tasks"] = tuple(given["tasks"])
    chosen = {name: value for name, value in given.items() if value is not None}
    state = chosen.get("state") or Settings().state
    settings = Settings(**chosen, open=no_tokens or not TokenFile(state).all())
    run(settings, host, port, certificate=tls_certificate, key=tls_key)
    return 0
