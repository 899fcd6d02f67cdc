"""``cwm-env debug``: step through an execution, forwards and backwards."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cwm_env.errors import InputError
from cwm_env.tracing import Place, Trace, TraceLimits, trace, trace_program
from cwm_env.tracing.context import mark, with_main
from cwm_env.tracing.judging.endpoint import Endpoint
from cwm_env.tracing.judging.prediction import predict_trace
from cwm_env.tracing.stepping.plain import Session


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--call", help='What to run, such as "f(1, 2)". Without it, the file is a program, or a recorded trace.')
@click.option("--stdin", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A program's input.")
@click.option("--model", help="Step through the frames that this model predicts.")
@click.option("--url", default="http://127.0.0.1:8000/v1", show_default=True, help="Its OpenAI-compatible endpoint.")
@click.option("--key", envvar="OPENAI_API_KEY", default="none", help="Its key.")
@click.option("--both", is_flag=True, help="With --model: recorded and predicted side by side.")
@click.option("--image", default="python", show_default=True, help="Image to run in.")
@click.option("--plain", is_flag=True, help="Lines instead of a screen; so too where there is no terminal.")
@click.option("--max-events", default=200_000, show_default=True, type=click.IntRange(1))
@click.option("--timeout", default=60.0, show_default=True, help="Seconds that the program may run.")
def debug(
    file: Path,
    call: str | None,
    stdin: Path | None,
    model: str | None,
    url: str,
    key: str,
    both: bool,
    image: str,
    plain: bool,
    max_events: int,
    timeout: float,
) -> None:
    """Step through one execution of FILE: a source with --call, a program, or a trace in the CWM format (.cwm).

    \b
    Keys: s into, n over, o out, c continue; S N O C the same backwards; b breakpoint, p print, w where, q quit.
    Example: cwm-env debug lib.py --call "f(1, 2)"
    """
    if both and not model:
        raise click.UsageError("--both needs --model")
    text = _read(file)
    recorded = None
    if not model or both:
        recorded = _record(file, text, call, stdin, image, TraceLimits(max_events=max_events), timeout)
    predicted = _predict(text, call, Endpoint(url, model, key)) if model else None
    first = recorded or predicted
    assert first is not None
    other = predicted if both else None
    if plain or not (sys.stdin.isatty() and sys.stdout.isatty()):
        for line in Session(first, other).run(sys.stdin):
            click.echo(line)
    else:
        from cwm_env.tracing.stepping.screen import DebuggerApp

        DebuggerApp(first, other).run()


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text: {error}") from None


def _record(
    file: Path, text: str, call: str | None, stdin: Path | None, image: str, limits: TraceLimits, timeout: float
) -> Trace:
    if file.suffix == ".cwm":
        return Trace.from_cwm(text)
    place = Place.default(image)
    if call is not None:
        return trace(text, call=call, place=place, limits=limits, timeout=timeout)
    return trace_program(text, stdin.read_bytes() if stdin else b"", place=place, limits=limits, timeout=timeout)


def _predict(text: str, call: str | None, model: Endpoint) -> Trace:
    if call is None:
        raise click.UsageError("--model needs --call")
    program, _, line = with_main(text, call)
    found = predict_trace(model, mark(program, line))
    if found.error:
        click.echo(f"the prediction ends early: {found.error}", err=True)
    return found.trace
