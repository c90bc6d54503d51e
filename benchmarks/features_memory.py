"""How much memory features of a large catalogue take: tiny pictures and texts, all different, and two small encoders.

    python benchmarks/features_memory.py --items 1000000

writes media tables of that many items, encodes them twice in a process of its own, first with an empty cache and then
from a full one, and prints the time and the peak of resident memory of either run; ``base`` is the peak of a run over a
hundred items, which is Python, its libraries and the encoders. The last line is ``growth <MiB above base>``.
``--picture-bytes 30000`` makes pictures as large as posters are on disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from kgrec.data import schemas
from kgrec.data.io import write_batches
from kgrec.features import local_engine
from kgrec.features.encode import FeaturesSettings, encode_features
from kgrec.features.encoders.base import ImageEncoder, TextEncoder

SIDE, WIDTH = 8, 512
#: bytes of pictures in a row group and rows in a shard
GROUP_BYTES, SHARD_ROWS = 32 << 20, 250_000


class SmallImages(ImageEncoder):
    """A linear map of the pixels of an 8 x 8 picture."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        model = nn.Linear(3 * SIDE * SIDE, WIDTH)
        super().__init__("small", model, torch.device("cpu"), 256, transform=_pixels, side=SIDE)

    @property
    def width(self) -> int:
        return WIDTH

    def preprocessing(self) -> dict[str, Any]:
        return {"side": SIDE}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.model(batch["pixels"].flatten(1))


class SmallTexts(TextEncoder):
    """The mean of vectors of a text's bytes."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            "small", nn.Embedding(256, WIDTH), torch.device("cpu"), 256,
            tokenise=lambda text: list(text.encode()[:64]), lengths=(16, 32, 64), pad=0, tokeniser_hash="bytes",
        )  # fmt: skip

    @property
    def width(self) -> int:
        return WIDTH

    def libraries(self) -> dict[str, str]:
        return {}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        mask = batch["mask"].unsqueeze(-1)
        return (self.model(batch["tokens"]) * mask).sum(1) / mask.sum(1)


def _pixels(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture, dtype=np.float32)).permute(2, 0, 1) / 255


def make_media(folder: Path, items: int, picture_bytes: int) -> None:
    """Write the media tables of ``items`` items, each with a picture (BMP) and a text of its own."""
    keys = [f"item:{i:09d}" for i in range(items)]
    size = 54 + 3 * SIDE * SIDE
    header = b"BM" + struct.pack("<IHHI", size, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 24, 0, 3 * SIDE * SIDE, 2835, 2835, 0, 0)
    rng = np.random.default_rng(0)

    def pictures(start: int, stop: int) -> Iterator[pa.RecordBatch]:
        for low in range(start, stop, 1024):
            part = keys[low : min(low + 1024, stop)]
            files = [header + rng.bytes(max(picture_bytes, size) - 54) for _ in part]
            yield pa.record_batch(
                [
                    part, [hashlib.sha256(data).hexdigest() for data in files], files, [SIDE] * len(part),
                    [SIDE] * len(part), ["bmp"] * len(part), [0] * len(part),
                ],
                schema=schemas.IMAGES,
            )  # fmt: skip

    rows = max(1, GROUP_BYTES // max(picture_bytes, size))
    for shard, start in enumerate(range(0, items, SHARD_ROWS)):
        path = folder / "images" / f"images-{shard:05d}.parquet"
        write_batches(pictures(start, min(start + SHARD_ROWS, items)), schemas.IMAGES, path, rows)
    texts = (
        pa.record_batch(
            [keys[low : low + 4096], [f"The film of {key[5:]}. " * (1 + int(key[-1]) % 3) for key in keys[low : low + 4096]],
             ["en"] * len(keys[low : low + 4096])],
            schema=schemas.TEXTS,
        )
        for low in range(0, items, 4096)
    )  # fmt: skip
    write_batches(texts, schemas.TEXTS, folder / "texts.parquet")


def peak_mib() -> float:
    """Peak of this process's resident memory. (``getrusage`` would tell that of the process that started it, if larger.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def encode(media: Path, out: Path, cache: Path) -> dict[str, Any]:
    """Encode in this process; gives the report, seconds and the peak of resident memory, MiB."""
    small = {"image": SmallImages, "text": SmallTexts}
    local_engine.open_encoder = lambda name, modality, *_: small[modality]()  # type: ignore[assignment]
    start = time.perf_counter()
    report = encode_features(media, out, FeaturesSettings(image="small", text="small"), cache, "cpu")
    seconds = time.perf_counter() - start
    return {"report": report, "seconds": seconds, "peak": peak_mib()}


def measure(folder: Path, items: int, picture_bytes: int) -> dict[str, dict[str, Any]]:
    """What :func:`encode` gives in processes of their own: ``base``, ``first`` and ``again``."""
    make_media(folder / "few", min(items, 100), picture_bytes)
    make_media(folder / "media", items, picture_bytes)
    found = {}
    for name, media in (("base", "few"), ("first", "media"), ("again", "media")):
        paths = [str(folder / part) for part in (media, f"out-{media}", f"cache-{media}")]
        command = [sys.executable, __file__, "--inside", *paths]
        found[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    tables = folder.glob("out-media/vectors/*.parquet")
    assert all(pq.read_metadata(table).num_rows == items for table in tables)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--picture-bytes", type=int, default=0)
    parser.add_argument("--inside", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        sys.stdout.write(json.dumps(encode(*options.inside)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.items, options.picture_bytes)
    table = Table("run", "encoded", "from cache", "seconds", "peak, MiB")
    for name, run in found.items():
        encoded, cached = (sum(m[k] for m in run["report"].values()) for k in ("encoded", "from_cache"))
        table.add_row(name, f"{encoded:,}", f"{cached:,}", f"{run['seconds']:.1f}", f"{run['peak']:.0f}")
    Console().print(table)
    Console().print(f"growth {max(run['peak'] for run in found.values()) - found['base']['peak']:.0f}")


if __name__ == "__main__":
    main()
