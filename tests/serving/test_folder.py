"""The manifest of a model folder holds what a file is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgrec.data.io import sha256_file
from kgrec.errors import CheckpointError
from kgrec.serving.folder import check_file, manifest, read_config


def test_manifest_lists_checksum_and_size(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert manifest(tmp_path, ["a.bin"]) == {"a.bin": {"sha256": sha256_file(tmp_path / "a.bin"), "bytes": 3}}


def test_a_file_that_is_not_listed_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    with pytest.raises(CheckpointError, match=r"lists no file a\.bin"):
        check_file(tmp_path, {"files": {}}, "a.bin")
    assert check_file(tmp_path, {"files": manifest(tmp_path, ["a.bin"])}, "a.bin") == tmp_path / "a.bin"


def test_config_of_a_published_model(published: dict[str, Path]) -> None:
    assert read_config(published["ease"])["kind"] == "item_similarity"
