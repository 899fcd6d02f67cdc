"""Tellings in plain words: several at once, and none twice where the work was stopped."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cwm_env.cli.trace import trace as command
from cwm_env.errors import PolicyError
from cwm_env.tracing import Trace, TraceError, trace
from cwm_env.tracing.datasets.dataset import make_record, read
from cwm_env.tracing.datasets.producing import Unit, produce
from cwm_env.tracing.datasets.rewriting import rewrite_all
from cwm_env.tracing.judging.endpoint import Endpoint
from tests.tracing.serving import serving


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Traces whose values are 0 to 11."""

    def work() -> Any:
        made = [trace("def f(n):\n    return n\n", args=(n,), in_process=True) for n in range(12)]
        return [make_record(each, "function", "u") for each in made], {}

    produce([Unit("u", work)], tmp_path / "data.jsonl.zst", similarity=None)
    return tmp_path / "data.jsonl.zst"


class Teller:
    """Tells every value, but 3 wrong; fails from some request on; knows how many it was asked at once."""

    def __init__(self, fails_from: int = 10**9) -> None:
        self.fails_from, self.asked, self.together, self.most = fails_from, 0, 0, 0
        self._lock, self._both = threading.Lock(), threading.Barrier(2)

    def __call__(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        with self._lock:
            self.asked += 1
            asked = self.asked
            self.together += 1
            self.most = max(self.most, self.together)
        try:
            if asked <= 2:
                self._both.wait(30)  # comes on only when a second request is there too
            if asked >= self.fails_from:
                return 401, b"no"
            value = body["messages"][1]["content"].rpartition("-> ")[2].split()[0]
            text = f"It returns.\nFinal value: {99 if value == '3' else value}"
            return 200, {"choices": [{"message": {"content": text}}]}
        finally:
            with self._lock:
                self.together -= 1


def test_several_are_told_at_once_but_no_more_than_asked_for(data: Path, tmp_path: Path) -> None:
    teller, out = Teller(), tmp_path / "told.jsonl"
    with serving(teller) as url:
        done = CliRunner().invoke(
            command, ["rewrite", str(data), "--model", "m", "--url", url, "--out", str(out), "--parallel", "3"]
        )
    assert done.exit_code == 0, done.output
    assert 2 <= teller.most <= 3 and teller.asked == 12
    told = [json.loads(line) for line in out.read_text().splitlines()]
    wanted = [record.id for record in read(data) if Trace.from_cwm(record.text).value != "3"]
    assert [row["id"] for row in told] == wanted and "Final value: 0" in told[0]["text"]
    assert "wrong-value" in done.output and "11" in done.output
    assert not out.with_name("told.jsonl.state").exists()


def test_what_was_told_is_not_told_again(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "told.jsonl"
    first, second = Teller(fails_from=7), Teller()
    with serving(first) as url, pytest.raises(PolicyError, match="401"):
        rewrite_all(read(data), Endpoint(url, "m"), out, parallel=2)
    done = len(out.with_name("told.jsonl.state").read_text().splitlines())
    assert 4 <= done <= 6
    with out.open("a") as file:
        file.write("half a li")  # what a kill in the middle of a write leaves
    with serving(second) as url:
        counts = rewrite_all(read(data), Endpoint(url, "m"), out, parallel=2)
        with pytest.raises(TraceError, match="finished already"):
            rewrite_all(read(data), Endpoint(url, "m"), out)
    assert second.asked == 12 - done and counts == {"kept": 11, "wrong-value": 1}
    assert len({json.loads(line)["id"] for line in out.read_text().splitlines()}) == 11
