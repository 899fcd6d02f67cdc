"""Nothing that fits the OpenAPI document, or nearly does, gives a 5xx."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.server.conftest import Start

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_no_request_gives_a_server_error_or_an_answer_that_is_not_documented(
    start_server: Start, tmp_path: Path
) -> None:
    server = start_server("--episodes", "50", "--lease", "5", "--warm", "0")
    program = Path(sys.executable).with_name("schemathesis")
    # Streams are left out where nothing ends them, and nothing here waits: the phases are the plain ones.
    command = [
        *[str(program), "run", f"{server.url}/openapi.json", "--checks", CHECKS, "--max-examples", "15"],
        *["--phases", "examples,coverage,fuzzing", "--request-timeout", "30", "--seed", "1", "--no-color"],
        *["--continue-on-failure"],
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
