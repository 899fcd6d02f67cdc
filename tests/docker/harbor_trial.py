"""What Harbor's trials ask a provider for, asked of ours; a program for an interpreter that has Harbor."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from harbor.models.task.config import EnvironmentConfig, NetworkPolicy
from harbor.models.trial.paths import TrialPaths

from cwm_env.integrations.harbor import CwmEnvironment


async def trial(task: Path, backend: str, room: Path) -> None:
    """Run one, and see that all is as Harbor's own environments have it."""
    environment = CwmEnvironment(
        environment_dir=task / "environment",
        environment_name=task.name,
        session_id=f"{task.name}__1__env",
        trial_paths=TrialPaths(trial_dir=room),
        task_env_config=EnvironmentConfig(memory_mb=512, cpus=0.5),
        network_policy=NetworkPolicy(network_mode="allowlist", allowed_hosts=["pypi.org"]),
        backend=backend,
    )
    await environment.start(force_build=False)
    try:
        done = await environment.exec("echo $X; cat extra/notes.txt; echo no >&2; exit 3", env={"X": "x"})
        assert (done.stdout, done.stderr, done.return_code) == ("x\nnotes\n", "no\n", 3), done
        done = await environment.exec("echo $https_proxy $(id -u) $PWD", cwd="/tmp", user="nobody")
        assert done.stdout is not None and done.stdout.split()[1:] == ["65534", "/tmp"], done
        assert done.stdout.startswith("http://"), done
        await environment.upload_dir(task / "tests", "/tests")
        await environment.upload_file(task / "solution/solve.sh", "/solution/solve.sh")
        await environment.exec("bash /solution/solve.sh && bash /tests/test.sh")
        await environment.download_dir("/logs/verifier", room / "verifier")
        await environment.download_file("/logs/verifier/reward.txt", room / "one" / "reward.txt")
        assert (room / "verifier/reward.txt").read_text() == (room / "one/reward.txt").read_text() == "1\n"
        assert await environment.is_dir("/logs") and await environment.is_file("/logs/verifier/reward.txt")
        assert (await environment.exec("sleep 30", timeout_sec=1)).return_code == 124
    finally:
        await environment.stop(delete=True)


if __name__ == "__main__":
    asyncio.run(trial(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
