"""The doctor says what is true of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwm_env.sandbox import cgroups, doctor
from cwm_env.sandbox.base import Sandbox


def test_a_machine_on_which_sandboxes_work_has_no_bad_required_finding(sandbox: Sandbox) -> None:
    bad = [finding for finding in doctor.examine() if finding.required and not finding.ok]
    assert bad == []


def test_every_finding_that_is_not_well_says_what_mends_it() -> None:
    assert all(finding.ok or finding.remedy for finding in doctor.examine())


def test_user_namespaces_that_are_switched_off_are_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "probe.py"
    broken.write_text("print('userns error [Errno 1] unshare: Operation not permitted')")
    monkeypatch.setattr(doctor, "_PROBE", broken)
    found = {finding.name: finding for finding in doctor.examine()}
    assert not found["user namespaces"].ok and "not permitted" in found["user namespaces"].detail
    assert not found["overlay in a user namespace"].ok


def test_delegated_v2_groups_are_found_and_their_controllers_handed_on(tmp_path: Path) -> None:
    own = tmp_path / "user.slice" / "app.scope"
    own.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids io")
    for directory in (own, own.parent):
        (directory / "cgroup.controllers").write_text("cpu memory pids")
        (directory / "cgroup.subtree_control").write_text("")
        (directory / "cgroup.procs").write_text("")
    membership = tmp_path / "membership"
    membership.write_text("0::/user.slice/app.scope\n")
    found = cgroups.find(tmp_path, membership)
    assert (found.version, set(found.homes)) == ("v2", {"cpu", "memory", "pids"})


def test_a_machine_without_control_groups_is_said_to_have_none(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("0::/\n")
    found = cgroups.find(tmp_path, membership)
    assert found.version == "none" and not found.homes and found.why_not


@pytest.mark.skipif(os.geteuid() != 0, reason="only root maps ids")
def test_root_is_told_about_idmapped_mounts() -> None:
    assert any(finding.name == "idmapped mounts" for finding in doctor.examine())
