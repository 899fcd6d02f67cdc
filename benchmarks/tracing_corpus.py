"""The tracer on the test suites of real packages, from their source distributions.

    python -m benchmarks.tracing_corpus [NAME...]

Of each package: do traced and untraced runs agree in every test's verdict and in what is printed; do all traces come
back from their text; are the resolved variables of every frame those of a recorder that keeps everything.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cwm_env.tracing import Place, Trace, TraceLimits
from cwm_env.tracing.datasets.repository import Cut, collect, trace_tests
from cwm_env.tracing.errors import TraceError
from cwm_env.tracing.format import Frame, Resolver
from cwm_env.tracing.rawlog import LogReader, RawTrace
from cwm_env.tracing.stream import feed
from cwm_env.tracing.tracer import one_file

PACKAGES = {
    "boltons": ("26.1.0", "5764468aba493b15995ed17f46a16789023f123ca2a62d491a9ce825c1cbe26c"),
    "cachetools": ("8.0.2", "30ac523adfc118b51d2b2e7bad8a0ddb31370dfe2700c7f10ca224f36ccf81e0"),
    "idna": ("3.9", "e5c5dafde284f26e9e0f28f6ea2d6400abd5ca099864a67f576f3981c6476124"),
    "inflection": ("0.5.1", "1a29730d366e996aaacffb2f1f1cb9593dc38e2ddd30c91250c6dde09ea9b417"),
    "jmespath": ("1.1.0", "472c87d80f36026ae83c6ddd0f1d05d4e510134ed462851fd5f754c8c3cbb88d"),
    "mistune": ("3.4.0", "2eaf7952af928ca8d33b779762effc1da517b62c6ad85ec8ca957e3b07b9782a"),
    "more-itertools": ("11.1.0", "48e8f4d9e7e5878571ecf6f2b4e57634f93cd474cc8cfbd2376f2d11b396e30d"),
    "schema": ("0.7.8", "e86cc08edd6fe6e2522648f4e47e3a31920a76e82cce8937535422e310862ab5"),
    "sqlparse": ("0.5.5", "e20d4a9b0b8585fdf63b10d30066c7c94c5d7a7ec47c889a2d83a3caa93ff28e"),
    "tabulate": ("0.9.0", "0095b12bf5966de529c0feb1fa08671671b3368eec77d7ef7ab114be2c068b3c"),
    "tinydb": ("4.9.0", "6928b1fa785186bda7952a0ba05aaeedc883ede565ca9c7d608de44e5e75de70"),
    "toolz": ("1.2.0", "9667a038e9d6ecba37995e26cb2f59ec6420b6ad8dd9677de59db9b956b08490"),
    "xmltodict": ("1.0.4", "6d94c9f834dd9e44514162799d344d815a3a4faec913717a9ecbfa5be1bb8e61"),
}
"""Name to version and SHA-256 of the source distribution."""
REASONS = {
    "test_deeply_indented_list_does_not_scale_quadratically": "it must be done within two seconds",
    "test_streaming_memory_usage": "it asks tracemalloc how much memory was allocated, and the tracer's buffers count",
    "/gcutils.py": "the variable holds what gc.get_referrers found, the two recorders' own objects among it",
}
"""Why what differs does so, by a part of its name."""
_RECIPE = """\
base = "python"
workdir = "/repo"
setup = "pip install --no-index --no-deps --no-build-isolation --editable ."
{env}
[[source]]
name = "{name}"
version = "{version}"
sha256 = "{sha256}"
"""
_VARIES = re.compile(rb"\d+\.\d+s(?: \(\d+:\d\d:\d\d\))?|0x[0-9a-f]+")


@dataclass
class Result:
    """What came out for one package."""

    tests: int = 0
    traces: int = 0
    frames: int = 0
    broken: int = 0
    """Traces that do not come back from their text."""
    wrong: int = 0
    """Frames whose resolved variables differ from the shadow's."""
    compared: int = 0
    """Frames that were compared with the shadow's."""
    refused: dict[str, int] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)
    """Tests whose verdict is another under trace."""
    outputs: list[str] = field(default_factory=list)
    """Files of tests whose run prints something else under trace."""


class Comparing(LogReader):
    """Reads a log with the shadow's lines, and counts where the two recorders differ."""

    def __init__(self) -> None:
        super().__init__(lambda raw: None, self._compare)
        self.compared = self.wrong = 0
        self._full: dict[int, Any] = {}
        self._resolvers: dict[int, Resolver] = {}
        self.examples: list[str] = []

    def _record(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "s":
            self._full[self._thread] = content
        else:
            super()._record(kind, content)

    def _compare(self, raw: RawTrace, frame: Frame) -> None:
        resolver = self._resolvers.setdefault(raw.number, Resolver())
        found = resolver.feed(frame)
        if frame.locals is not None:
            self.compared += 1
            full = self._full.pop(self._thread, None)
            if found != full:
                self.wrong += 1
                self.examples.append(f"{frame.file}:{frame.line} {found} is not {full}"[:1000])
        if not resolver.stack:
            del self._resolvers[raw.number]


def images(names: list[str]) -> Iterator[tuple[str, Place]]:
    """A place for each package, built where it was not yet."""
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            version, sha256 = PACKAGES[name]
            recipe = Path(directory, name)
            recipe.mkdir()
            env = f'env = {{ SETUPTOOLS_SCM_PRETEND_VERSION = "{version}" }}\n'
            text = _RECIPE.format(name=name, version=version, sha256=sha256, env=env)
            (recipe / "image.toml").write_text(text)
            yield name, Place.default(str(recipe))


def check(place: Place, events: int, timeout: float) -> Result:
    """Run one package's tests three times: untraced, traced, and traced with the shadow beside."""
    result = Result()
    cut = Cut(limits=TraceLimits(max_events=events))

    def take(episode: Any) -> None:
        text = episode.trace.to_cwm()
        again = Trace.from_cwm(text)
        result.traces += 1
        result.frames += len(again.frames)
        result.broken += again.to_cwm() != text or again != episode.trace

    for file in collect(place):
        plain, _ = trace_tests(place, [file], take, cut=cut, trace=False, timeout=timeout)
        traced, refused = trace_tests(place, [file], take, cut=cut, timeout=timeout, whole=True)
        result.tests += len(plain.verdicts)
        for reason, number in refused.items():
            result.refused[reason] = result.refused.get(reason, 0) + number
        tests = plain.verdicts.keys() | traced.verdicts.keys()
        differing = [t for t in sorted(tests) if plain.verdicts.get(t) != traced.verdicts.get(t)]
        result.differing += differing
        if _VARIES.sub(b"", plain.stdout) != _VARIES.sub(b"", traced.stdout):
            result.outputs.append(f"{file} in what it prints, with the verdicts of: {', '.join(differing) or 'none'}")
        _shadow(place, file, events // 4, timeout, result)
    return result


def _shadow(place: Place, file: str, events: int, timeout: float, result: Result) -> None:
    reader = Comparing()
    more = Path(__file__).with_name("tracing_shadow.py").read_text()
    request = {
        "mode": "tests", "directory": place.image.workdir, "args": [file, "-q", "-p", "no:cacheprovider"],
        "roots": [place.image.workdir + "/"], "max_events": events,
    }  # fmt: skip
    shadowed = replace(place, tracer=one_file(more))
    with closing(place.backend.create(place.image, place.limits)) as sandbox:
        feed(reader.feed, sandbox, request, shadowed, timeout)
    reader.finish()
    result.compared += reader.compared
    result.wrong += reader.wrong
    for example in reader.examples[:2]:
        print(f"    differs: {example[:300]} {_reason(example)}")


def _reason(what: str) -> str:
    return next((f"({why})" for part, why in REASONS.items() if part in what), "(no reason is known)")


def main() -> None:
    """Check the packages that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PACKAGES)}")
    parser.add_argument("--events", type=int, default=40_000, help="events of one file of tests")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds of one run")
    options = parser.parse_args()
    head = ("package", "tests", "traces", "frames", "broken", "compared", "wrong", "verdicts", "outputs")
    print("".join(f"{name:>12}" for name in head))
    total = [0] * (len(head) - 1)
    for name, place in images(options.names or list(PACKAGES)):
        try:
            found = check(place, options.events, options.timeout)
        except TraceError as error:
            print(f"{name:>12}  {error}")
            continue
        row = [found.tests, found.traces, found.frames, found.broken, found.compared, found.wrong]
        row += [len(found.differing), len(found.outputs)]
        total = [sum(pair) for pair in zip(total, row, strict=True)]
        print(f"{name:>12}" + "".join(f"{n:12,}" for n in row), flush=True)
        if found.refused:
            print(f"    refused: {json.dumps(found.refused)}")
        for what in (*found.differing, *found.outputs):
            print(f"    differs: {what} {_reason(what)}")
    print(f"{'all':>12}" + "".join(f"{n:12,}" for n in total))


if __name__ == "__main__":
    main()
