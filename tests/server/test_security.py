"""Who may do what: tokens, tenants, paths, bodies."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from cwm_env.server.tokens import TokenFile
from tests.server.conftest import Server, Start

COMMAND = [sys.executable, "-m", "cwm_env"]


def test_one_tenant_neither_sees_nor_touches_anothers(start_server: Start, small_task: Path, tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "state")
    mine, theirs = tokens.create("mine"), tokens.create("theirs")
    server = start_server("--tasks", str(small_task.parent))
    status, made = server.ask("POST", "/episodes", {"task": "small"}, token=mine)
    assert status == 201
    path = f"/episodes/{made['episode_id']}"
    step = {"action": "true", "step_id": "1"}
    for method, end, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("DELETE", "/sandbox", None),
        ("POST", "/step", step),
        ("POST", "/submit", {}),
        ("POST", "/heartbeat", None),
        ("GET", "/trajectory", None),
        ("GET", "/files/etc/passwd", None),
        ("PUT", "/files/tmp/x", b"x"),
    ):
        status, problem = server.ask(method, path + end, body, token=theirs)
        assert (status, problem["kind"]) == (404, "no-episode"), (method, end)
    assert server.ask("GET", "/episodes", token=theirs) == (200, [])
    batch = {"steps": [{**step, "episode_id": made["episode_id"]}]}
    assert server.ask("POST", "/steps", batch, token=theirs)[1]["problem"]["kind"] == "no-episode"
    assert server.ask("POST", path + "/step", step, token=mine)[0] == 200


@pytest.mark.parametrize("wrong", [None, "", "x", "cwm_0_0", "cwm_ä_ö"])
def test_without_a_valid_token_nothing_is_told(start_server: Start, tmp_path: Path, wrong: str | None) -> None:
    TokenFile(tmp_path / "state").create("one")
    server = start_server()
    wrong = wrong.encode().decode("latin-1") if wrong else wrong
    for method, path, body in (
        ("GET", "/tasks", None),
        ("GET", "/metrics", None),
        ("POST", "/episodes", {"task": "x"}),
    ):
        status, problem = server.ask(method, path, body, token=wrong)
        assert (status, problem["kind"]) == (401, "no-token")
    assert server.ask("GET", "/healthz") == (200, {"status": "ok"})


def test_a_token_is_kept_as_a_digest_and_works_until_it_is_revoked(start_server: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"

    def tokens(*arguments: str) -> str:
        done = subprocess.run([*COMMAND, "tokens", *arguments, "--state", str(state)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    token = tokens("create", "training", "--operator")
    _, token_id, secret = token.split("_", 2)
    kept = (state / "tokens.json").read_text()
    assert secret not in kept and token_id in kept
    assert (state / "tokens.json").stat().st_mode & 0o077 == 0
    server = start_server()
    assert server.ask("GET", "/tasks", token=token)[0] == 200
    assert server.ask("GET", "/metrics", token=token)[0] == 200
    assert "training" in tokens("list") and secret not in tokens("list", "--json")
    assert server.ask("GET", "/metrics", token=tokens("create", "other"))[0] in (401, 403)
    tokens("revoke", token_id)
    deadline = time.monotonic() + 5
    while server.ask("GET", "/tasks", token=token)[0] != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert secret not in server.log.read_text()


def test_without_tokens_only_loopback_is_served(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--host", "0.0.0.0", "--port", "0", "--state", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "can be reached by others" in done.stderr


@pytest.mark.parametrize("header", [{"Host": "rebound.example"}, {"Origin": "https://page.example"}])
def test_a_page_in_the_users_browser_cannot_use_it(server: Server, header: dict[str, str]) -> None:
    status, problem = server.ask("POST", "/episodes", {"task": "small"}, **header)
    assert (status, problem["kind"]) == (403, "not-local")


def test_with_tokens_a_task_is_an_id_and_never_a_path(start_server: Start, small_task: Path, tmp_path: Path) -> None:
    token = TokenFile(tmp_path / "state").create("one")
    server = start_server("--tasks", str(small_task.parent))
    for name in (str(small_task), f"../{small_task.parent.name}/small", "..", ".", "small\0", "/etc"):
        status, problem = server.ask("POST", "/episodes", {"task": name}, token=token)
        assert (status, problem["kind"]) == (422, "task"), name
    listed = server.ask("GET", "/tasks", token=token)[1]
    assert "small" in [task["id"] for task in listed]
    assert str(small_task) not in str(listed) and "test_double" not in str(listed)


def test_a_path_of_a_file_never_leads_out_of_the_sandbox(server: Server, small_task: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    episode = server.begin(small_task)
    server.step(episode, f"ln -s {secret} /tmp/link; ln -s / /tmp/root; mkfifo /tmp/pipe", "1")
    for path in (str(secret), f"../../../..{secret}", "%2e%2e/%2e%2e" + str(secret), "tmp/link", f"tmp/root{secret}"):
        status, said = server.ask("GET", f"/episodes/{episode}/files/{path}")
        assert status in (404, 409) and "secret" not in said.get("observation", ""), path
        assert server.ask("PUT", f"/episodes/{episode}/files/{path}", b"x")[0] in (204, 404, 409)
    assert secret.read_text() == "secret"
    assert server.ask("GET", f"/episodes/{episode}/files/tmp/pipe")[0] == 409
    assert server.ask("GET", f"/episodes/{episode}/files/tmp%00x")[0] == 422


def test_a_directory_comes_as_an_archive(server: Server, small_task: Path) -> None:
    episode = server.begin(small_task)
    server.step(episode, "mkdir -p /tmp/d/e && echo 1 > /tmp/d/a && echo 2 > /tmp/d/e/b", "1")
    status, data = server.ask("GET", f"/episodes/{episode}/files/tmp/d?archive=true")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert {name.split("/")[-1] for name in archive.getnames()} >= {"a", "b"}
    assert server.ask("GET", f"/episodes/{episode}/files/nosuch?archive=true")[0] == 404


def test_a_file_of_any_size_comes_in_bounded_memory(server: Server, small_task: Path) -> None:
    episode, size = server.begin(small_task), 200 << 20
    server.step(episode, f"truncate -s {size} /tmp/large; printf end >> /tmp/large; : > /tmp/empty", "1")

    def peak() -> int:
        rows = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        return next(int(row.split()[1]) << 10 for row in rows if row.startswith("VmHWM"))

    before = peak()
    status, data = server.ask("GET", f"/episodes/{episode}/files/tmp/large")
    assert status == 200 and len(data) == size + 3 and data.endswith(b"\0end")
    assert peak() - before < 32 << 20
    assert server.ask("GET", f"/episodes/{episode}/files/tmp/empty")[0] == 200
    assert server.ask("GET", f"/episodes/{episode}/files/tmp")[0] == 409


def test_the_disk_limit_holds_for_what_is_sent_up(server: Server, small_task: Path) -> None:
    episode = server.begin(small_task)
    server.step(episode, "head -c 3G /dev/zero > /tmp/full", "1")
    status, problem = server.ask("PUT", f"/episodes/{episode}/files/tmp/more", b"x" * (1 << 20))
    assert (status, problem["kind"]) == (409, "file"), problem
