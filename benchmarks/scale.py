"""How time and memory of every stage grow with the catalogue, over three decades, and what a catalogue of millions takes.

    python benchmarks/scale.py                    # all stages, 10^3 to 10^6 interactions
    python benchmarks/scale.py --quick            # 10^3 to 10^5
    python benchmarks/scale.py --stages graph,train --sizes 1000,10000,100000
    python benchmarks/scale.py --catalogue 0.1    # a tenth of 1 M users, 1 M items, 10 M entities, 200 M edges

The first form writes synthetic catalogues as published files (``benchmarks/catalogue.py``) and runs the commands of
``dvc.yaml`` on them, a process for each. Time is that of the stage's function, without imports; memory is the process's peak
(VmHWM). The smallest size runs once before, so that nothing is compiled while the clock runs. Encoders are linear maps of
tiny pictures, and KGAT with one layer stands for the models.

What takes less than a second and finds nothing of an earlier run is run three times, and the least counts.

Size is the number of interactions; users, items, people and facts grow alike. To each series belongs the best

    t(n) = a + b (n log n)^q,    a, b >= 0

in the sense of least squares of relative errors: a is what a run costs however small, q = 1 is n log n. Above ``--tolerance``
the verdict is "faster than n log n". Full ranking scores every user against every item, so evaluation is told against the
number of those pairs, where q = 1 would be the bound too. A step on the full graph reads
all of it, so batches grow with the catalogue: at most about 50 of interactions an epoch. The table, the CSV beside the
picture and the exit code say so.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import catalogue as synthetic  # noqa: E402

SIZES, QUICK = (1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000), (1_000, 3_162, 10_000, 31_623, 100_000)
STAGES = (
    "fetch", "interactions", "extract", "link", "kg", "media", "features", "split", "graph", "train", "evaluate", "publish",
    "report",
)  # fmt: skip
#: series beside the stages: one epoch of the train stage, one step, opening the graph as files
PARTS = ("epoch", "open")
#: stages that keep nothing from one run to the next
STATELESS = ("interactions", "link", "kg", "split", "graph", "evaluate", "publish", "report")
#: users of the validation part, that the train stage is not about ranking
VALID_USERS = 50


class Point(NamedTuple):
    """One run."""

    stage: str
    interactions: int
    #: what the series is told against
    size: int
    seconds: float
    #: peak of resident memory, MiB, and what of it the imports took
    peak: float
    imports: float


class Fit(NamedTuple):
    """t(n) = a + b (n log n)^q"""

    a: float
    b: float
    q: float


def fit(sizes: np.ndarray, values: np.ndarray) -> Fit:
    """Least squares of relative errors; of exponents that do equally well (within a tenth) the one nearest to 1."""
    found = []
    work = sizes * np.log2(np.maximum(sizes, 2))
    for q in np.arange(0.1, 2.5001, 0.02):
        columns = np.stack([np.ones(len(work)), (work / work[-1]) ** q], 1) / values[:, None]
        for kept in ([0, 1], [1], [0]):
            part = np.zeros(2)
            part[kept] = np.linalg.lstsq(columns[:, kept], np.ones(len(work)), rcond=None)[0]
            if (part >= 0).all():
                break
        found.append((float(((columns @ part - 1) ** 2).sum()), float(q), part[0], part[1] / work[-1] ** q))
    best = min(found)[0]
    _, q, a, b = min((one for one in found if one[0] <= 1.1 * best + 1e-4), key=lambda one: abs(one[1] - 1))
    return Fit(a, b, q)


# ------------------------------------------------------------------------------------------------ one stage, one process


def peak_mib() -> float:
    """Peak of this process's resident memory."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def inside(word: str, folder: Path) -> None:
    """Run one stage in this process and print seconds and memory."""
    os.chdir(folder)
    timed: Callable[[], Any]
    if word in STAGES:
        from pipeline.entry import run

        module = importlib.import_module(f"stages.{word}")
        if word == "features":
            from features_memory import SmallImages, SmallTexts

            from kgrec.features import local_engine

            small = {"image": SmallImages, "text": SmallTexts}
            local_engine.open_encoder = lambda name, modality, *_: small[modality]()  # type: ignore[assignment,return-value]
        command = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][word]["cmd"]
        sys.argv = [word, *shlex.split(command.replace("${publish.model}", "kgat"))[3:]]

        def timed() -> None:
            with contextlib.suppress(SystemExit):
                run(module.main)
    else:
        from kgrec.graphs.mapped import open_mapped

        def timed() -> None:
            open_mapped(Path("artifacts/09_graph"), Path(".kgrec/mapped"))

    if word in ("graph", "train", "evaluate", "publish", "open"):
        import kgrec.graphs.dgl_compat  # noqa: F401  it takes seconds
    imports, started = peak_mib(), time.perf_counter()
    timed()
    seconds = time.perf_counter() - started
    if word in STAGES and not Path(f"artifacts/{STAGES.index(word) + 1:02d}_{word}/report.json").exists():
        raise SystemExit(f"stage {word} did not finish")
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "peak": peak_mib(), "imports": imports}))


def params(raw: Path, interactions: int) -> dict[str, Any]:
    """The parameters of every run."""
    sources = {role: [{"path": path.name} for path in sorted((raw / role).glob("*"))] for role in os.listdir(raw)}
    for role, files in sources.items():
        for file in files:
            file["path"] = f"{role}/{file['path']}"
    shared = yaml.safe_load((ROOT / "params.yaml").read_text())
    return {
        **shared,
        "fetch": {"recipe": "scale", "root": str(raw), "sources": sources},
        "media": {"texts": {"compose": "title_plot"}},
        "features": {"image": "small", "text": "small"},
        "kg": {**shared["kg"], "metadata": ["genre"]},
        "train": {
            "models": {"kgat": {"settings": {"layers": [64]}}, "popularity": {}},
            "epochs": 1, "train_batch_size": max(64, interactions // 50), "device": "cpu",
        },
        "evaluate": {**shared["evaluate"], "bootstrap": 100, "device": "cpu"},
        "publish": {"model": "kgat"},
    }  # fmt: skip


def measure(word: str, folder: Path) -> dict[str, float]:
    """Run one stage in a process of its own."""
    command = [sys.executable, __file__, "--inside", word, str(folder)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    if done.returncode:
        raise SystemExit(f"stage {word} in {folder} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def shorten_validation(folder: Path) -> None:
    """Keep the first users of the validation part."""
    import pyarrow.compute as pc

    from kgrec.data.io import read_parquet, write_parquet

    path = folder / "artifacts/08_split/valid.parquet"
    table = read_parquet(path)
    write_parquet(table.filter(pc.is_in(table["user_id"], value_set=pc.unique(table["user_id"])[:VALID_USERS])), path)


def run_size(interactions: int, folder: Path, wanted: set[str], told: Callable[[Point], None]) -> None:
    """Run the pipeline as far as the last stage wanted."""
    raw = folder / "raw"
    folder.mkdir(parents=True)
    synthetic.write_raw(raw, interactions)
    (folder / "params.yaml").write_text(yaml.safe_dump(params(raw, interactions)))
    last = max(STAGES.index({"epoch": "train", "open": "graph"}.get(word, word)) for word in wanted)
    items = 0
    for word in STAGES[: last + 1]:
        found = measure(word, folder)
        if word in STATELESS and found["seconds"] < 1:
            found = min([found, measure(word, folder), measure(word, folder)], key=lambda one: one["seconds"])
        report = json.loads((folder / f"artifacts/{STAGES.index(word) + 1:02d}_{word}/report.json").read_text())[
            "metrics"
        ]
        size = interactions
        if word == "split":
            shorten_validation(folder)
        if word == "evaluate":
            size = int(report["users_evaluated"]) * items
        if word == "graph":
            items = int(report["items"])
        if word in wanted:
            told(Point(word, interactions, size, found["seconds"], found["peak"], found["imports"]))
        if word == "graph" and "open" in wanted:
            measure("open", folder)  # writes the cache
            again = measure("open", folder)
            told(Point("open", interactions, size, again["seconds"], again["peak"], again["imports"]))
        if word == "train" and "epoch" in wanted:
            with open(folder / "artifacts/10_train/models/kgat/history.csv", newline="") as stream:
                row = next(csv.DictReader(stream))
            told(Point("epoch", interactions, size, float(row["train_seconds"]), found["peak"], found["imports"]))


# ------------------------------------------------------------------------------------------------ table, picture, verdict


def conclude(points: list[Point], tolerance: float, picture: Path) -> bool:
    """Print the table, write picture and CSV; True if nothing grows faster than n log n."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with open(picture.with_suffix(".csv"), "w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Point._fields)
        writer.writerows(
            [p.stage, p.interactions, p.size, round(p.seconds, 4), round(p.peak, 1), round(p.imports, 1)]
            for p in points
        )
    good = True
    series = {name: [p for p in points if p.stage == name] for name in dict.fromkeys(p.stage for p in points)}
    print(
        f"\n{'stage':13} {'largest':>13}  {'seconds':>9} {'q':>5}  {'MiB':>7} {'above imports':>13} {'q':>5}  verdict"
    )
    fits = {}
    for name, found in series.items():
        sizes = np.array([p.size for p in found], float)
        by_time = fit(sizes, np.array([max(p.seconds, 1e-3) for p in found]))
        by_memory = fit(sizes, np.array([p.peak for p in found]))
        fits[name] = by_time, by_memory
        # an exponent of what is lost in the fixed part says nothing
        work = sizes[-1] * np.log2(sizes[-1])
        fast = [
            what
            for what, one, value in (("time", by_time, found[-1].seconds), ("memory", by_memory, found[-1].peak))
            if round(one.q, 2) > tolerance and one.b * work**one.q > 0.2 * value
        ]
        good &= not fast
        verdict = f"{' and '.join(fast)} faster than n log n" if fast else "at most n log n"
        last = found[-1]
        unit = "pairs" if name == "evaluate" else ""
        print(
            f"{name:13} {last.size:13,} {unit:5}{last.seconds:6.2f} {by_time.q:5.2f}  {last.peak:7.0f} "
            f"{last.peak - last.imports:13.0f} {by_memory.q:5.2f}  {verdict}"
        )
    draw(series, fits, picture)
    return good


def draw(series: dict[str, list[Point]], fits: dict[str, tuple[Fit, Fit]], path: Path) -> None:
    """Log-log plots of time and memory with the fits."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    columns = 5
    rows = -(-len(series) // columns)
    figure, axes = plt.subplots(
        2 * rows, columns, figsize=(2.3 * columns, 4.2 * rows), squeeze=False, layout="constrained"
    )
    for place, (name, found) in enumerate(series.items()):
        sizes = np.array([p.size for p in found], float)
        fine = np.geomspace(sizes[0], sizes[-1], 50)
        for half, (one, unit) in enumerate(zip(fits[name], ("seconds", "MiB"), strict=True)):
            axis = axes[2 * (place // columns) + half][place % columns]
            axis.loglog(fine, one.a + one.b * (fine * np.log2(fine)) ** one.q, color="0.7", lw=1)
            axis.loglog(
                sizes,
                [p.seconds if half == 0 else p.peak for p in found],
                "o",
                ms=3,
                color=("#1f5fa8", "#b8561b")[half],
            )
            axis.set_title(f"{name}, {unit}: q = {one.q:.2f}", fontsize=7)
            axis.tick_params(which="both", labelsize=6)
            axis.yaxis.set_minor_formatter(NullFormatter())
            if half:
                axis.set_xlabel("pairs" if name == "evaluate" else "interactions", fontsize=6)
                axis.set_ylim(100, max(1000, 2 * max(p.peak for p in found)))
    for axis in axes.flat:
        axis.set_visible(axis.has_data())
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", default="all", help="comma-separated; also epoch and open")
    parser.add_argument("--sizes", default="", help="comma-separated numbers of interactions")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tolerance", type=float, default=1.1)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "scale.png")
    parser.add_argument(
        "--catalogue", type=float, metavar="SCALE", help="run that share of the large catalogue instead"
    )
    parser.add_argument("--keep", type=Path, help="folder for the runs' files; else a temporary one")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        if given.inside[0] in STAGES + PARTS:
            inside(given.inside[0], Path(given.inside[1]))
        else:
            import scale_catalogue

            scale_catalogue.inside(given.inside[0].removeprefix("catalogue:"), given.inside[1])
        return
    print(
        f"synthetic data; {platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory(prefix="kgrec.scale.") as temporary:
        folder = given.keep or Path(temporary)
        if given.catalogue:
            import scale_catalogue

            scale_catalogue.run(given.catalogue, folder)
            return
        wanted = {*STAGES, *PARTS} if given.stages == "all" else set(given.stages.split(","))
        if unknown := wanted - {*STAGES, *PARTS}:
            parser.error(f"unknown stage {sorted(unknown)[0]!r}; there are {', '.join((*STAGES, *PARTS))}")
        sizes = [int(size) for size in given.sizes.split(",") if size] or list(QUICK if given.quick else SIZES)
        points: list[Point] = []

        def told(point: Point) -> None:
            points.append(point)
            print(
                f"{point.interactions:11,}  {point.stage:13} {point.seconds:9.2f} s  {point.peak:7.0f} MiB "
                f"({point.peak - point.imports:+.0f})",
                flush=True,
            )

        run_size(sizes[0], folder / "warm", wanted, lambda point: None)
        for size in sizes:
            run_size(size, folder / str(size), wanted, told)
            if not given.keep:
                subprocess.run(["rm", "-r", str(folder / str(size))], check=True)
    if not conclude(points, given.tolerance, given.picture):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
