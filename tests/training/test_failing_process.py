"""A process that fails takes the others with it, and process 0 says why; nothing hangs."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest
import torch

from kgrec.errors import ConfigError, DataError, TrainingError
from kgrec.training.distributed import Group, joined, own_device, started

CPU = torch.device("cpu")
#: what process 1 does while process 0 waits for it in an exchange
FAILURES = ("foreseen", "unforeseen", "both", "slow", "gone")


def _work(process: int, ports: list[int], folder: Path) -> None:
    torch.set_num_threads(1)
    for failure, port in zip(FAILURES, ports, strict=True):
        os.environ |= {"RANK": str(process), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        # not so short that a busy machine is mistaken for a lost process, but for the case that waits for it
        timeout = 2.0 if failure == "slow" else 120.0
        said = "nothing"
        try:
            with joined(CPU, timeout) as group:
                assert (group.rank, group.world) == (process, 2)
                group.sum([torch.ones(1)])
                if failure == "both":
                    raise TrainingError("loss is not finite")
                if process == 1:
                    if failure == "foreseen":
                        raise DataError("is damaged", path="graph.dgl")
                    if failure == "unforeseen":
                        raise ZeroDivisionError("division by zero\nand more")
                    if failure == "slow":
                        time.sleep(6)
                    if failure == "gone":
                        os._exit(0)
                group.sum([torch.ones(1)])
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        (folder / f"{failure}.{process}").write_text(said)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failures")
    with_ports = [socket.socket() for _ in FAILURES]
    for one in with_ports:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_ports]
    for one in with_ports:
        one.close()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(n, ports, folder)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
        assert process.exitcode == 0
    return folder


@pytest.mark.parametrize(
    ("failure", "first", "second"),
    [
        ("foreseen", "TrainingError: process 1 failed: graph.dgl: is damaged", "SystemExit: 1"),
        (
            "unforeseen",
            "TrainingError: process 1 failed: division by zero",
            "ZeroDivisionError: division by zero\nand more",
        ),
        ("both", "TrainingError: loss is not finite", "SystemExit: 1"),
    ],
)
def test_one_clear_error(said: Path, failure: str, first: str, second: str) -> None:
    assert (said / f"{failure}.0").read_text() == first
    assert (said / f"{failure}.1").read_text() == second


def test_a_process_that_does_not_answer_is_not_waited_for_longer_than_timeout(said: Path) -> None:
    assert "did not answer within train.timeout = 2 seconds" in (said / "slow.0").read_text()


def test_a_process_that_is_gone_is_noticed(said: Path) -> None:
    text = (said / "gone.0").read_text()
    assert text.startswith("TrainingError: a process was lost")
    assert "start again to go on" in text


def test_alone_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(CPU, 1.0) as group:
        assert group == Group()
    assert started() == 1
    assert own_device("cpu") == CPU


def test_an_environment_without_a_meeting_point_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match="start them with torchrun"), joined(CPU, 1.0):
        pass
