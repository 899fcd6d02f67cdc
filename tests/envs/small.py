"""A task that costs nothing: a module of one function with a bug, on the shipped image ``python``."""

from __future__ import annotations

import json
from pathlib import Path

IMAGE = '''
base = "python"
setup = """
printf 'def double(x):\\\\n    return x + x + 1\\\\n' > doubling.py
mkdir tests
printf 'import doubling\\\\ndef test_a_number(): assert isinstance(doubling.double(0), int)\\\\n' > tests/test_old.py
for place in $VIRTUAL_ENV/lib/python3*/site-packages; do echo /repo > $place/repo.pth; done
"""
'''
TASK = """
[metadata]
difficulty = "easy"
package = "none"
[metadata.cwm_env]
paths = ["/repo/tests", "/tests"]
protected = ["tests/*"]
turns = 5
command_timeout_sec = 20
grade_on_truncation = {grade_on_truncation}
[verifier]
timeout_sec = 60
"""
HIDDEN = "import doubling\n\ndef test_double(): assert doubling.double(2) == 4\n"
FIX = "sed -i 's/ + 1$//' /repo/doubling.py"
EXPECTED = {
    "FAIL_TO_PASS": ["tests/test_hidden.py::test_double"],
    "PASS_TO_PASS": ["repo/tests/test_old.py::test_a_number"],
}


def write_task(directory: Path, name: str = "small", *, grade_on_truncation: bool = False) -> Path:
    """Write the task's directory ``directory/name``."""
    files = {
        "task.toml": TASK.format(grade_on_truncation=str(grade_on_truncation).lower()),
        "instruction.md": "`doubling.double` in /repo gives one too much.\n",
        "environment/image.toml": IMAGE,
        "tests/test_hidden.py": HIDDEN,
        "tests/expected.json": json.dumps(EXPECTED),
        "solution/solve.sh": FIX,
    }
    for file, text in files.items():
        path = directory / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / name
