"""Harbor's tasks in several shapes, all with a Dockerfile; they stand on an image ``t/debian:1`` of the engine."""

from __future__ import annotations

from pathlib import Path

TOML = 'schema_version = "1.4"\n[verifier]\ntimeout_sec = 60\n[agent]\ntimeout_sec = 60\n'
REWARD = "mkdir -p /logs/verifier\n"

TASKS: dict[str, dict[str, str]] = {
    # The workdir is a repository.
    "repository": {
        "instruction.md": "Write `42` into /app/answer.\n",
        "environment/Dockerfile": "FROM t/debian:1\nWORKDIR /app\n"
        "RUN echo 41 > answer && git init -q && git add -A && git commit -qm first\n",
        "tests/test.sh": f'{REWARD}[ "$(cat /app/answer)" = 42 ]; echo $((! $?)) > /logs/verifier/reward.txt\n',
        "solution/solve.sh": "echo 42 > /app/answer\n",
    },
    # It is none, and the image has neither git nor find; files of every kind change.
    "files": {
        "instruction.md": "Make `run`, which prints the bytes 0, 1 and 2; remove `old/`; link `latest` to it.\n",
        "environment/Dockerfile": "FROM t/debian:1 AS made\nRUN head -c 300 /dev/zero > /data\nFROM t/debian:1\n"
        "RUN cd /usr/bin && rm git find xargs\nWORKDIR /app/sub\nCOPY --from=made /data .\nCOPY extra extra\n"
        "RUN mkdir old && echo x > old/x && ln -s data latest\n",
        "environment/extra/notes.txt": "notes\n",
        "tests/test.sh": f"{REWARD}cd /app/sub\nreward=0\n"
        "[ -x run ] && [ ! -e old ] && [ -e extra/notes.txt ] && [ $(readlink latest) = run ] &&\n"
        "    [ $(./latest | base64) = AAEC ] && reward=1\necho $reward > /logs/verifier/reward.txt\n",
        "solution/solve.sh": "printf '\\0\\1\\2' > data\nprintf '#!/bin/bash\\ncat data\\n' > run\nchmod +x run\n"
        "rm -r old\nln -sfn run latest\n",
    },
    # The image's user is not root; pytest decides, and the reward is one number among the JSON file's.
    "pytest": {
        "instruction.md": "`total.py` must add up the numbers of its standard input.\n",
        "environment/Dockerfile": "FROM t/debian:1\nWORKDIR /srv\nCOPY total.py .\nRUN chown -R 1000:1000 .\n"
        "ENV PYTHONDONTWRITEBYTECODE=1\nUSER 1000:1000\n",
        "environment/total.py": "print(0)\n",
        "tests/test.sh": f"{REWARD}python -m pytest -q -p no:cacheprovider /tests/test_total.py\n"
        'echo "{\\"reward\\": $((! $?)).0, \\"seconds\\": 3}" > /logs/verifier/reward.json\n',
        "tests/test_total.py": "import subprocess\n\ndef test_total():\n"
        "    done = subprocess.run(['python', '/srv/total.py'], input='1 2', text=True, capture_output=True)\n"
        "    assert done.stdout == '3\\n'\n",
        "solution/solve.sh": "echo 'print(sum(map(int, input().split())))' > total.py\n",
    },
    # What is to be changed lies all over the file system, and half of it is worth half.
    "system": {
        "task.toml": TOML + '[metadata.cwm_env]\ntree = "/"\nunprotected = ["*"]\n',
        "instruction.md": "Greet everybody who logs in, and give Python a module `greeting`.\n",
        "environment/Dockerfile": "FROM t/debian:1\n",
        "tests/test.sh": f"{REWARD}motd=0\nmodule=0\ngrep -q hello /etc/motd && motd=5\n"
        'python -c \'import greeting\' && module=5\necho "{\\"score\\": 0.$((motd + module))}" |\n'
        "    sed 's/0.10/1/' > /logs/verifier/reward.json\n",
        "solution/solve.sh": "echo hello > /etc/motd\n"
        "echo > \"$(python -c 'import site; print(site.getsitepackages()[0])')/greeting.py\"\n",
    },
}
PARTS = {"system": ("echo hello > /etc/motd", 0.5)}
"""A change that is worth something, but not all."""


def write(directory: Path, name: str) -> Path:
    """Write one of them; its directory."""
    for file, text in {"task.toml": TOML, **TASKS[name]}.items():
        path = directory / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / name
