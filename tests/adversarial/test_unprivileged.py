"""The attack suite once more, for an ordinary user's sandboxes: one id, no ranges, and no control groups."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cwm_env.sandbox.namespaces.binary import spawner_program

ROOT = Path(__file__).parents[2]
SUITE = [f"tests/adversarial/test_{name}.py" for name in ("escape", "exhaustion", "files")]
USER = "64321"
# The interpreter and this checkout may lie where only root looks; to read them is all that the user may do besides.
BECOME = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--inh-caps=-all,+dac_read_search",
          "--ambient-caps=-all,+dac_read_search", "--bounding-set=-all,+dac_read_search"]  # fmt: skip


@pytest.mark.alone
@pytest.mark.skipif(os.geteuid() != 0, reason="whoever runs the suite is an ordinary user already")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv (util-linux) is not installed")
def test_the_attacks_gain_nothing_in_an_ordinary_users_sandbox_either() -> None:
    with tempfile.TemporaryDirectory() as home:
        native = spawner_program().parent  # to build it once more would take most of the time
        shutil.copytree(native, Path(home, "cwm-env", "native", native.name))
        for place in (Path(home), *Path(home).rglob("*")):
            os.chown(place, int(USER), int(USER))
        places = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
        environment = {**os.environ, **dict.fromkeys(places, home), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("CWM_ENV_CACHE", None)
        command = [*BECOME, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITE]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "passed" in done.stdout
