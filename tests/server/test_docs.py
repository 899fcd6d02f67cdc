"""What the documentation shows runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cwm_env.cli.serve import serve
from cwm_env.server.settings import Settings
from tests.server.conftest import Server

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_client_in_javascript_plays_an_episode(server: Server, small_task: Path) -> None:
    command = ["node", str(ROOT / "docs" / "client.mjs"), server.url, str(small_task)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "doubling.py\ntests\n[exit code 0; /repo; 4 turns left]" in done.stdout
    assert done.stdout.endswith("reward 0 unresolved\n")
    assert len((ROOT / "docs" / "client.mjs").read_text().splitlines()) <= 30


def test_the_end_points_are_those_that_the_page_lists(server: Server) -> None:
    page = (ROOT / "docs" / "server.md").read_text()
    for path, operations in server.ask("GET", "/openapi.json")[1]["paths"].items():
        for method in operations:
            shown = re.sub(r"\{episode_id\}", "{id}", path)
            assert f"`{method.upper()} {shown}`" in page, f"{method.upper()} {shown}"


def test_the_options_are_those_of_the_settings() -> None:
    page = (ROOT / "docs" / "server.md").read_text()
    names = {option.name for option in serve.params} & set(Settings.__dataclass_fields__)
    assert len(names) > 15
    for name in names - {"state", "tasks"}:  # which are no limits
        assert f"| `--{name.replace('_', '-')}` |" in page, name
