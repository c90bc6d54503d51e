"""The doctor finds what is there, says what to do about what is not, and never falls ill itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kgrec.serving import doctor


def test_this_machine_can_work(tmp_path: Path) -> None:
    findings = {one.name: one for one in doctor.diagnose(tmp_path)}
    assert findings["Python"].status == "ok"
    assert findings["PyTorch"].status == "ok"
    assert findings["DGL"].status == "ok"
    assert findings["encoder efficientnet-lite0"].status == "ok"
    assert findings["encoder all-MiniLM-L6-v2"].status == "ok"
    assert str(tmp_path) in findings["disk"].found
    for one in findings.values():
        assert one.status == "ok" or one.remedy, one


def test_a_missing_dgl_comes_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kgrec.graphs.dgl_compat", None)
    (finding,) = doctor._dgl()
    assert finding.status == "missing"
    assert "pip install 'dgl" in finding.remedy


def test_missing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (finding,) = doctor._torch()
    assert (finding.name, finding.status) == ("PyTorch", "missing")


def test_little_disk_and_memory_are_warnings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "DISK_GIB", 1e9)
    monkeypatch.setattr(doctor, "MEMORY_GIB", 1e9)
    assert [one.status for one in (*doctor._disk(tmp_path), *doctor._memory())] == ["warn", "warn"]


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: (_ for _ in ()).throw(OSError("gone")))
    last = doctor.diagnose(tmp_path)[-1]
    assert (last.name, last.status, last.found) == ("disk", "missing", "cannot be checked: gone")
