from __future__ import annotations

import time
from pathlib import Path

import httpx
import huggingface_hub
import pytest

from kgrec.errors import EncoderUnavailable
from kgrec.features.encoders import hub, open_encoder


@pytest.mark.parametrize("name", ["open_clip:ViT-B-32/openai", "transformers:openai/clip-vit-base-patch32"])
def test_an_unreachable_hub_is_told_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kw: object) -> None:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(hub, "cached", lambda repository, file: None)
    monkeypatch.setattr(httpx, "head", no_network)
    begin = time.perf_counter()
    with pytest.raises(EncoderUnavailable, match=r"not in the local hub cache and .* cannot be reached \(no route\)"):
        open_encoder(name, "image", "cpu")
    assert time.perf_counter() - begin < 20


def test_what_was_fetched_once_is_used_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda r, f: str(tmp_path / f))
    monkeypatch.setattr(httpx, "head", lambda *a, **k: pytest.fail("asked the hub"))
    assert hub.from_hub("x", "owner/model", ["model.safetensors"]) == tmp_path


def test_a_failed_download_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kw: object) -> None:
        raise RuntimeError("404")

    monkeypatch.setattr(hub, "cached", lambda repository, file: None)
    monkeypatch.setattr(httpx, "head", lambda *a, **k: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(
        EncoderUnavailable, match=r"'x' cannot be had: download of owner/model failed \(RuntimeError: 404\)"
    ):
        hub.from_hub("x", "owner/model", ["model.safetensors"])
