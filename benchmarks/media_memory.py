"""Memory and time of the media stage on a synthetic catalogue: ``python benchmarks/media_memory.py --items 1000000``.

Every item has a poster of its own (a 32 x 48 JPEG of random blocks, in one zip archive) and a plot of 500 characters. The stage
runs in a process of its own; the last line is its peak resident memory.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from kgrec.data import schemas
from kgrec.data.io import write_parquet
from kgrec.media.collect import MediaFolders, MediaSettings, collect_media
from kgrec.media.subjects import Catalogue


def make(root: Path, items: int) -> None:
    """Write the catalogue, an archive of posters and a file of plots."""
    rng = np.random.default_rng(0)
    ids = [f"B{i:09d}" for i in range(items)]
    empty = pa.array([[]] * items, pa.list_(pa.string()))
    columns = {
        field.name: empty if pa.types.is_list(field.type) else pa.nulls(items, field.type) for field in schemas.ITEMS
    }
    columns |= {"item_id": pa.array(ids), "title": pa.array([f"Title of {one}" for one in ids])}
    write_parquet(pa.table(columns, schema=schemas.ITEMS), root / "items.parquet")
    write_parquet(schemas.LINKS.empty_table(), root / "links.parquet")
    write_parquet(schemas.ENTITIES.empty_table(), root / "entities.parquet")
    for name in ("posters", "texts"):
        (root / name).mkdir()
    words = np.array([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"])
    with zipfile.ZipFile(root / "posters" / "posters.zip", "w") as archive:
        for one in ids:
            stream = io.BytesIO()
            blocks = rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((32, 48), Image.Resampling.NEAREST).save(stream, "JPEG", quality=50)
            archive.writestr(f"{one}.jpg", stream.getvalue())
    with gzip.open(root / "texts" / "plots.jsonl.gz", "wt", compresslevel=1) as file:
        for one in ids:
            plot = " ".join(words[rng.integers(0, len(words), 125)])
            file.write(json.dumps({"item_id": one, "plot": plot}) + "\n")


def peak_mib() -> float:
    """Peak of this process's resident memory. (``getrusage`` would tell that of the process that started it, if larger.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run(root: Path) -> None:
    """Run the stage and say what it took."""
    began = time.perf_counter()
    report = collect_media(
        Catalogue(root / "items.parquet", root / "links.parquet", root / "entities.parquet"),
        MediaFolders(root / "posters", root / "texts"),
        root / "out",
        root / "responses",
        MediaSettings(),
    )
    print(
        json.dumps(
            {"seconds": time.perf_counter() - began, "peak_gb": peak_mib() / 1024, "pictures": report["image"]["ok"]}
        )
    )


def main() -> None:
    """Make the data, run the stage beside them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the data are made, and kept; else a temporary folder")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        run(chosen.run)
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = chosen.folder or Path(temporary)
        if not (root / "items.parquet").exists():
            make(root, chosen.items)
        done = subprocess.run(
            [sys.executable, __file__, "--run", str(root)], check=True, capture_output=True, text=True, env=os.environ
        )
        told = json.loads(done.stdout.splitlines()[-1])
        print(
            f"items      {chosen.items:>12,}\npictures   {told['pictures']:>12,}\nseconds    {told['seconds']:>12,.1f}"
        )
        print(f"items/s    {chosen.items / told['seconds']:>12,.0f}\npeak {told['peak_gb']:.2f} GB")


if __name__ == "__main__":
    main()
