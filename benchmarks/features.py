"""How close features come to the speed of their encoder, and what precision, trimming and duplicates are worth.

    python benchmarks/features.py --posters ../shared/data/ml-1m/posters --plots ../shared/data/imdb-ml-1m/omdb_metadata.jsonl.gz

Without ``--encoder`` it is a ViT-B-32 with random weights (seed 0), written to a temporary folder; without ``--posters`` and
``--plots``, JPEGs of the same sizes and texts of the same lengths are generated (seed 0). For each precision, ``--repeats``
times and by turns: the forward pass alone, over batches that lie prepared on the device, in as many threads as the engine
takes; and ``encode_features`` with an empty cache, from Parquet to Parquet, with the same open encoder.
Ratios are of neighbours in time, their median is told; ``of processor`` is the ratio of processor seconds, which others on
the machine disturb less. ``share`` is what decoding and preprocessing take of a worker's time.
On a GPU the share of peak is of what a bfloat16 product of two 8192 x 8192 matrices reaches there. The last line is
``ratio <end to end over forward alone>`` of the first precision.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import structlog
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import cosine_similarity

from kgrec.data.io import write_parquet
from kgrec.data.schemas import IMAGES, TEXTS
from kgrec.features.encode import FeaturesSettings, encode_features
from kgrec.features.encoders import Encoder, open_encoder
from kgrec.features.local_engine import EncoderSpec, _steady_numerics
from kgrec.features.torchvision_compat import prepare_torchvision

#: batches that lie prepared for the forward pass alone
PREPARED = 8


@dataclass(frozen=True)
class Seconds:
    """Of the clock, and of all processors that worked for this process."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Seconds:
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.processor - other.processor)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--encoder", help="of both modalities; default: a ViT-B-32 with random weights")
    options.add_argument("--posters", type=Path, help="folder of JPEG files")
    options.add_argument("--plots", type=Path, help="JSON lines with Title and Plot, gzip")
    options.add_argument("--images", type=int, default=1024)
    options.add_argument("--texts", type=int, default=1024)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--device", default="auto")
    options.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        name = given.encoder or write_clip(folder / "clip")
        write_media(folder / "media", posters(given.posters, given.images), texts(given.plots, given.texts))
        ratio = compare_images(name, folder, given)
        compare_texts(name, folder, given)
    print(f"ratio {ratio:.3f}")


def compare_images(name: str, folder: Path, given: argparse.Namespace) -> float:
    """Pictures a second, end to end and forward alone; returns the ratio of the two."""
    title = f"{given.images} pictures"
    table = Table(
        "precision",
        "forward/s",
        "end to end/s",
        "ratio",
        "of processor",
        "share",
        "cosine",
        "TFLOP/s",
        "of peak",
        title=title,
    )
    contents = [row["bytes"] for row in read(folder / "media" / "images" / "images-00000.parquet")]
    ratios, exact = {}, None
    for precision in given.precisions:
        encoder = open_encoder(name, "image", given.device, precision=precision)
        batches = [encoder.collate(part, 0) for part in chunks(contents, encoder.batch_size)]
        with _steady_numerics(encoder.device.type == "cpu"):
            vectors = torch.cat([encoder.encode(batch).vectors for batch in batches[:4]])
        exact = vectors if exact is None else exact
        ready = [encoder.prepare(batch) for batch in batches[:PREPARED]]
        count = len(batches) * encoder.batch_size
        measured, processor = [], []
        for _ in range(given.repeats):
            one = forward_alone(encoder, ready, len(batches))
            two = end_to_end(encoder, folder)
            measured.append((count / one.wall, len(contents) / two.wall))
            processor.append(one.processor / count * len(contents) / two.processor)
        ratios[precision] = statistics.median(whole / alone for alone, whole in measured)
        alone, whole = (statistics.median(column) for column in zip(*measured, strict=True))
        flops = flops_of(encoder, ready[0]) / encoder.batch_size
        table.add_row(
            encoder.precision, f"{alone:.1f}", f"{whole:.1f}", f"{ratios[precision]:.3f}", f"{statistics.median(processor):.3f}",
            f"{share(encoder, contents):.1%}", f"{float(cosine_similarity(exact, vectors).min()):.6f}",
            f"{alone * flops / 1e12:.2f}",
            f"{alone * flops / peak(encoder.device):.1%}" if encoder.device.type == "cuda" else "",
        )  # fmt: skip
    Console(width=132).print(table)
    return ratios[given.precisions[0]]


def compare_texts(name: str, folder: Path, given: argparse.Namespace) -> None:
    """Texts a second with every row as long as the encoder takes, with trimmed rows, and end to end where half of the keys
    share their text with another."""
    table = Table(
        "precision", "full length/s", "trimmed/s", "gain", "difference", "end to end keys/s", "encoded", title="texts"
    )
    contents = sorted({row["text"] for row in read(folder / "media" / "texts.parquet")})
    for precision in given.precisions:
        encoder: Any = open_encoder(name, "text", given.device, precision=precision)
        rates, vectors = [], []
        for lengths in (encoder.lengths[-1:], encoder.lengths):
            encoder.lengths = lengths
            by_length: dict[int, list[str]] = {}
            for text in contents:
                by_length.setdefault(encoder.padded_length(text), []).append(text)
            batches = [
                encoder.collate(part, length)
                for length, some in sorted(by_length.items()) for part in chunks(some, encoder.batch_size)
            ]  # fmt: skip
            ready = [encoder.prepare(batch) for batch in batches]
            rates.append(
                len(contents) / min(forward_alone(encoder, ready, len(ready)).wall for _ in range(given.repeats))
            )
            with _steady_numerics(encoder.device.type == "cpu"):
                vectors.append(
                    {text: encoder.encode(encoder.collate([text], encoder.padded_length(text))).vectors[0]
                     for text in contents[:16]}
                )  # fmt: skip
        report: dict[str, Any] = {}
        seconds = end_to_end(encoder, folder, report)
        difference = max(float((a - vectors[1][text]).abs().max()) for text, a in vectors[0].items())
        table.add_row(
            encoder.precision, f"{rates[0]:.1f}", f"{rates[1]:.1f}", f"{rates[1] / rates[0]:.2f}", f"{difference:.1e}",
            f"{report['text']['keys'] / seconds.wall:.1f}", f"{report['text']['encoded']} of {report['text']['keys']}",
        )  # fmt: skip
    Console(width=132).print(table)


def end_to_end(encoder: Encoder, folder: Path, report: dict[str, Any] | None = None) -> Seconds:
    """Seconds of ``encode_features`` with an empty cache and an encoder that is open."""
    settings = FeaturesSettings.model_validate({"image": None, "text": None, encoder.modality: encoder.name})
    assert encoder.fingerprint  # weights are hashed once
    with patch.object(EncoderSpec, "open", lambda spec: encoder), TemporaryDirectory(dir=folder) as place:
        begin = Seconds.now()
        found = encode_features(folder / "media", Path(place) / "out", settings, Path(place) / "cache")
        seconds = Seconds.now() - begin
    if report is not None:
        report |= found
    return seconds


def forward_alone(encoder: Encoder, ready: Sequence[dict[str, Tensor]], count: int) -> Seconds:
    """Seconds of ``count`` forward passes over prepared batches, in turn."""
    on_cpu = encoder.device.type == "cpu"
    autocast = encoder.precision == "bfloat16" and not on_cpu

    @torch.inference_mode()
    def work(index: int) -> Tensor:
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=autocast):
            return encoder.forward(ready[index % len(ready)])

    threads = torch.get_num_threads() if on_cpu else 1
    with (
        _steady_numerics(on_cpu),
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        list(pool.map(work, range(threads)))
        wait_for(encoder.device)
        begin = Seconds.now()
        list(pool.map(work, range(count)))
        wait_for(encoder.device)
        return Seconds.now() - begin


def share(encoder: Encoder, contents: Sequence[bytes]) -> float:
    """What decoding and preprocessing take of a worker's time with a batch; best of several."""
    parts = list(islice(chunks(contents, encoder.batch_size), 4))
    seconds = {"before": float("inf"), "forward": float("inf")}
    with _steady_numerics(encoder.device.type == "cpu"):
        for part in parts * 2:
            begin = time.perf_counter()
            batch = encoder.collate(part, 0)
            collated = time.perf_counter()
            encoder.encode(batch)
            seconds["before"] = min(seconds["before"], collated - begin)
            seconds["forward"] = min(seconds["forward"], time.perf_counter() - collated)
    return seconds["before"] / sum(seconds.values())


def flops_of(encoder: Encoder, batch: dict[str, Tensor]) -> int:
    """Floating-point operations of a forward pass; a multiplication and an addition are two."""
    from torch.utils.flop_counter import FlopCounterMode

    autocast = encoder.precision == "bfloat16" and encoder.device.type != "cpu"
    torch.backends.mha.set_fastpath_enabled(False)  # whose operations are not counted
    try:
        with (
            FlopCounterMode(display=False) as counter, torch.inference_mode(),
            torch.autocast(encoder.device.type, torch.bfloat16, enabled=autocast),
        ):  # fmt: skip
            encoder.forward(batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


def peak(device: torch.device) -> float:
    """Floating-point operations a second of a large bfloat16 product."""
    one = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        one @ one
    wait_for(device)
    begin = time.perf_counter()
    for _ in range(20):
        one @ one
    wait_for(device)
    return 20 * 2 * 8192**3 / (time.perf_counter() - begin)


def wait_for(device: torch.device) -> None:
    """Until all that was begun there is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def chunks(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` items, the last one shorter."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a Parquet file."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def write_clip(folder: Path) -> str:
    """A ViT-B-32 with random weights in open_clip's layout."""
    prepare_torchvision()
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir()
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"open_clip:{folder}"


def write_media(folder: Path, pictures: list[bytes], plots: list[str]) -> None:
    """Media tables: each picture once, each text under two keys."""
    rows = []
    for index, data in enumerate(pictures):
        width, height = Image.open(io.BytesIO(data)).size
        rows.append(
            {"key": f"item:{index:06d}", "sha256": hashlib.sha256(data).hexdigest(), "bytes": data, "width": width,
             "height": height, "format": "JPEG", "phash": 0}
        )  # fmt: skip
    write_parquet(pa.Table.from_pylist(rows, schema=IMAGES), folder / "images" / "images-00000.parquet")
    keys = [{"key": f"item:{index:06d}", "text": text, "lang": "en"} for index, text in enumerate(plots + plots)]
    write_parquet(pa.Table.from_pylist(keys, schema=TEXTS), folder / "texts.parquet")


def posters(folder: Path | None, count: int) -> list[bytes]:
    """Distinct JPEGs: of ``folder``, else blocks of colour at the sizes of MovieLens-1M's posters."""
    if folder:
        found = {data: None for path in sorted(folder.glob("*.jpg")) if (data := path.read_bytes())}
        return list(islice(found, count))
    draw = np.random.default_rng(0)
    pictures = []
    for _ in range(count):
        blocks = draw.integers(0, 256, (60, 40, 3), dtype=np.uint8)
        stream = io.BytesIO()
        size = 300, int(draw.integers(400, 480))
        Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        pictures.append(stream.getvalue())
    return pictures


def texts(plots: Path | None, count: int) -> list[str]:
    """Distinct texts, title and plot: of ``plots``, else words drawn at the same lengths."""
    if plots:
        with gzip.open(plots, "rt", encoding="utf-8") as lines:
            records = (json.loads(line) for line in lines)
            found = {f"{r.get('Title', '')}. {r.get('Plot') or ''}".strip(): None for r in records}
            return list(islice(found, count))
    draw = np.random.default_rng(0)
    words = ["a", "the", "young", "man", "woman", "city", "finds", "loses", "war", "love", "house", "and", "of", "to"]
    return [" ".join(draw.choice(words, int(draw.integers(4, 45)))) + f" {index}." for index in range(count)]


if __name__ == "__main__":
    main()
