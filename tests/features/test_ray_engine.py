from __future__ import annotations

import io
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kgrec.errors import ConfigError, DataError, EncoderUnavailable
from kgrec.features.encode import FeaturesSettings, encode_features

ray = pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")

TEXTS = {f"item:{i:03d}": f"Film {i % 90}. " + "A plot of some words. " * (i % 12) for i in range(100)}


def picture(seed: int) -> bytes:
    stream = io.BytesIO()
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((90, 120)).save(stream, "JPEG")
    return stream.getvalue()


IMAGES = {f"item:{i:03d}": picture(i % 60) for i in range(70)}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("two_workers")
def test_equals_one_machine(media: Any, tmp_path: Path, tiny: Any) -> None:
    media.write(IMAGES, TEXTS)
    settings = FeaturesSettings(image=tiny.transformers, text=tiny.transformers, tokens=("text",))
    on_ray = settings.model_copy(update={"engine": "ray"})
    one = encode_features(media.folder, tmp_path / "one", settings, tmp_path / "cache", "cpu")
    many = encode_features(media.folder, tmp_path / "many", on_ray, tmp_path / "cache of ray", "cpu")
    assert many == one
    assert (many["image"]["encoded"], many["text"]["encoded"]) == (60, len(set(TEXTS.values())))
    assert files(tmp_path / "many") == files(tmp_path / "one")
    broken = bytes(1000)
    media.write({"item:001": picture(1), "item:003": broken}, TEXTS)
    on_ray = on_ray.model_copy(update={"text": None, "tokens": ()})
    with pytest.raises(DataError, match=f"content {sha256(broken).hexdigest()} of item:003 cannot be preprocessed"):
        encode_features(media.folder, tmp_path / "many", on_ray, tmp_path / "cache", "cpu")
    assert files(tmp_path / "many") == files(tmp_path / "one")
    with pytest.raises(EncoderUnavailable, match="Choices:"):
        encode_features(
            media.folder, tmp_path / "x", on_ray.model_copy(update={"image": "resnet50"}), tmp_path / "cache", "cpu"
        )
    assert not (tmp_path / "x").exists()


def test_another_encoder_on_a_machine_is_refused(media: Any, tiny: Any) -> None:
    import pyarrow as pa

    from kgrec.features.contents import open_contents
    from kgrec.features.local_engine import EncoderSpec
    from kgrec.features.ray_engine import RayEngine, _Worker

    media.write(IMAGES, TEXTS)
    contents = open_contents(media.folder, "text")
    spec = EncoderSpec(tiny.transformers, "text", "cpu")
    task = pa.table({"positions": [np.arange(3).tobytes()]})
    engine = RayEngine.__new__(RayEngine)
    engine.tokens = False
    (row,) = _Worker(spec, "0" * 64, contents, False, 1)(task)
    with pytest.raises(ConfigError, match="not the same on all machines"):
        engine._batch({name: values[0] for name, values in row.items()})

    shutil.rmtree(media.folder)
    (row,) = _Worker(spec, spec.open().fingerprint, contents, False, 1)(task)
    with pytest.raises(DataError, match=r"texts\.parquet: no such file on this machine"):
        engine._batch({name: values[0] for name, values in row.items()})


def test_needs_ray(media: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media.write(IMAGES, TEXTS)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"kgrec\[ray\]"):
        encode_features(media.folder, tmp_path / "out", FeaturesSettings(engine="ray"), tmp_path / "cache", "cpu")
