"""``torchrun -m kgrec train`` with two processes writes what one process writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from kgrec.graphs.build import GraphSettings, build_graph
from kgrec.training.run import TrainSettings, train_models
from tests.films import films

SETTINGS: dict[str, Any] = {
    "models": {"kgat": {"settings": {"embedding_size": 8, "relation_size": 4, "layers": [4]}}, "ease": {}},
    "epochs": 3, "train_batch_size": 2, "slices": 2, "device": "cpu",
}  # fmt: skip


def torchrun(folder: Path, settings: dict[str, Any], split: Path) -> subprocess.CompletedProcess:
    (folder / "params.yaml").write_text(yaml.safe_dump({"train": settings}))
    command = [
        *(
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "--local-ranks-filter",
            "0",
        ),
        *("-m", "kgrec", "train", "--graph", folder / "graph", "--split", split, "--out", folder / "models"),
        *("--state", folder / "state", "--params", folder / "params.yaml"),
    ]
    environment = {key: value for key, value in os.environ.items() if key not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=600, check=False,
        env={**environment, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.slow
def test_torchrun_trains_and_refuses(tmp_path: Path) -> None:
    paths = films().write(tmp_path / "in")
    build_graph(**paths, out=tmp_path / "graph", settings=GraphSettings(sequence_length=4))

    refused = torchrun(tmp_path, {**SETTINGS, "slices": 1}, paths["split"])
    assert refused.returncode
    assert refused.stderr.count("train.slices is 1, but 2 processes train") == 1
    assert not (tmp_path / "models").exists()

    ran = torchrun(tmp_path, SETTINGS, paths["split"])
    assert ran.returncode == 0, ran.stderr
    expected = train_models(
        tmp_path / "graph", paths["split"], tmp_path / "alone", TrainSettings(**SETTINGS), tmp_path / "state_alone"
    )
    summary = json.loads(ran.stdout)
    for name, row in expected.items():
        assert {k: v for k, v in summary[name].items() if k != "seconds"} == {
            k: v for k, v in row.items() if k != "seconds"
        }
        alone, together = (load_file(tmp_path / run / name / "model.safetensors") for run in ("alone", "models"))
        assert alone.keys() == together.keys()
        for key, value in alone.items():
            torch.testing.assert_close(together[key], value, rtol=1e-4, atol=1e-6)
        configs = [json.loads((tmp_path / run / name / "config.json").read_text()) for run in ("alone", "models")]
        for config in configs:
            del config["training"]
        assert configs[0] == configs[1]
    assert {path.name for path in (tmp_path / "models").iterdir()} == set(SETTINGS["models"])
