"""Drift is how far a refresh moved the vectors: whether their lengths and their neighbourhoods are what they were.

A baseline is pinned once and kept beside the code: no vectors, only the neighbours, lengths and content hashes of a
sample of keys. The sample are the keys with the smallest hashes, so that a refresh draws nearly the same one again.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from kgrec.config import Settings
from kgrec.data.io import read_parquet, write_json, write_parquet
from kgrec.errors import DataError
from kgrec.features.drift_plots import Panel, write_plots
from kgrec.features.neighbours import Block, nearest_to_keys, vector_blocks
from kgrec.progress import get_logger

log = get_logger(__name__)

_DIGITS = 6
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: characters of a content hash that are remembered
_CONTENT = 16

#: one row per modality; ``norm_quantiles`` at 1, 5, 25, 50, 75, 95 and 99 %, of all rows; in ``sample`` neighbours are nearest
#: first, and ``content`` is the beginning of ``content_sha256``
BASELINE = pa.schema(
    [
        ("modality", pa.string()), ("encoder", pa.string()), ("count", pa.int64()), ("width", pa.int32()),
        ("norm_quantiles", pa.list_(pa.float64())),
        ("sample", pa.list_(pa.struct(
            [
                ("key", pa.string()), ("content", pa.string()), ("norm", pa.float64()),
                ("neighbours", pa.list_(pa.string())),
            ]
        ))),
    ]
)  # fmt: skip


class DriftSettings(Settings):
    """How closely a refresh is looked at, and from where on it is worth a warning."""

    sample: int = Field(default=1000, ge=1)
    """Keys per modality whose neighbours are compared."""
    neighbours: int = Field(default=10, ge=1)
    """Nearest neighbours of each of them."""
    min_keys_kept: float = Field(default=0.9, ge=0, le=1)
    """Warn when fewer of the baseline's sampled keys are still there."""
    min_neighbours_kept: float = Field(default=0.8, ge=0, le=1)
    """Warn when keys of unchanged content keep fewer of their neighbours, on average."""
    max_norm_shift: float = Field(default=0.05, ge=0)
    """Warn when the distribution of vector lengths moved further (Wasserstein distance, as a share of the mean length
    before)."""


def measure_drift(
    vectors: Path, baseline: Path | None, out: Path, settings: DriftSettings, *, warn: bool = True
) -> dict[str, Any]:
    """Measure each feature table of ``vectors`` and compare it with the baseline.

    Writes ``metrics.json``, ``plots/norms.csv``, ``plots/neighbours.csv`` and ``plots/drift.png`` into ``out``; equal
    vectors give equal bytes whatever the number of threads. Memory grows with 24 bytes a row, not with the vectors.

    :param vectors: folder of ``<modality>.parquet`` (:func:`~kgrec.data.schemas.features`)
    :param baseline: what :func:`pin_baseline` wrote; None, or no such file: ``drift`` is null
    :param warn: log what :func:`drift_warnings` finds
    :return: what ``metrics.json`` holds. Per modality

        - ``encoder``, ``width``, ``count``;
        - ``norm``: ``mean``, ``std`` and quantiles ``p1`` … ``p99`` of the vectors' lengths;
        - ``similarity``: mean cosine of a sampled key to its nearest neighbours;
        - ``near_zero``: share of vectors shorter than a hundredth of the median;
        - ``duplicates``: share of rows whose vector another row has too;
        - ``collapsed``: share of distinct contents lost because different contents got one vector;
        - ``drift``, against the baseline: ``same_encoder``; ``count_before``; ``keys_kept``: share of its sampled keys
          that are still there; ``content_kept``: share of those whose content is the same; ``neighbours_kept``: mean
          share of a key's neighbours, where still there, that are still its neighbours; ``neighbours_kept_unchanged``:
          the same over keys of unchanged content; ``neighbours_at_random``: what it would be for neighbours drawn at
          random; ``norm_ks``: Kolmogorov-Smirnov statistic of the sampled lengths; ``norm_shift``: their Wasserstein
          distance as a share of the mean before; ``warnings``: how many limits are passed, see :func:`drift_warnings`.

    :raises DataError: if a table or the baseline is damaged
    """
    before = _read_baseline(baseline) if baseline is not None and Path(baseline).exists() else {}
    metrics: dict[str, Any] = {}
    panels: list[Panel] = []
    tables = feature_tables(vectors)
    for modality in sorted(tables.keys() | before.keys()):
        old = before.get(modality)
        if modality in tables:
            now = _measure(tables[modality], settings, old)
        else:
            now = _Measured({"encoder": None, "width": old["width"], "count": 0} | _UNKNOWN)  # type: ignore[index]
        metrics[modality] = now.metrics | {"drift": None}
        if old:
            drift, kept = _compare(old, now)
            metrics[modality]["drift"] = drift
            warnings = drift_warnings({modality: metrics[modality]}, settings)
            drift["warnings"] = len(warnings)
            for warning in warnings if warn else ():
                log.warning("features drifted", finding=warning)
            panels.append(Panel(modality, _norms(old["sample"]), now.norms, kept, drift["neighbours_at_random"]))
        else:
            panels.append(Panel(modality, [], now.norms, [], None))
    write_json(metrics, Path(out) / "metrics.json")
    write_plots(panels, Path(out) / "plots")
    return metrics


def pin_baseline(vectors: Path, path: Path, settings: DriftSettings) -> None:
    """Write what later refreshes are compared with, some 100 kB for 1000 keys.

    :param vectors: folder of ``<modality>.parquet``
    :param path: the Parquet file to write (:data:`BASELINE`)
    :raises DataError: if there is no table, or one is damaged
    """
    tables = feature_tables(vectors)
    if not tables:
        raise DataError("holds no feature table to pin; run features first", path=vectors)
    rows = []
    for modality, table in tables.items():
        now = _measure(table, settings, None)
        said, sample = now.metrics, [{"key": key, **asdict(now.rows[key])} for key in now.sample]
        quantiles = [said["norm"][_name(q)] for q in _QUANTILES] if said["count"] else []
        rows.append(
            {"modality": modality, **{name: said[name] for name in ("encoder", "count", "width")},
             "norm_quantiles": quantiles, "sample": sample}
        )  # fmt: skip
    write_parquet(pa.Table.from_pylist(rows, schema=BASELINE), path)


def drift_warnings(metrics: Mapping[str, Any], settings: DriftSettings) -> list[str]:
    """A sentence for each limit of ``settings`` that the drift of a modality passes, and for each new encoder."""
    found = []
    for modality, measured in sorted(metrics.items()):
        drift = measured["drift"]
        if not drift:
            continue
        if not measured["count"]:
            found.append(f"{modality}: the baseline has {drift['count_before']:,} vectors, now there are none")
            continue
        if not drift["same_encoder"]:
            found.append(f"{modality}: another encoder than the baseline's, now {measured['encoder']}")
        for name, limit, low, what in (
            ("keys_kept", settings.min_keys_kept, True, "of the sampled keys are still there"),
            ("neighbours_kept_unchanged", settings.min_neighbours_kept, True, "of neighbours are kept where content is the same"),
            ("norm_shift", settings.max_norm_shift, False, "of the mean is how far the lengths moved"),
        ):  # fmt: skip
            value = drift[name]
            if value is not None and (value < limit if low else value > limit):
                found.append(f"{modality}: {100 * value:.1f} % {what}; the limit is {100 * limit:g} %")
    return found


def feature_tables(vectors: Path) -> dict[str, Path]:
    """The tables of a folder by modality. :raises DataError: if there is no such folder"""
    if not Path(vectors).is_dir():
        raise DataError("no such folder of feature tables; run features first", path=vectors)
    return {path.stem: path for path in sorted(Path(vectors).glob("*.parquet"))}


#: of a table without rows
_UNKNOWN = dict.fromkeys(("norm", "similarity", "near_zero", "duplicates", "collapsed"))


@dataclass(frozen=True)
class _Row:
    """What is remembered of a key, as in :data:`BASELINE`."""

    content: str
    norm: float
    neighbours: list[str]


@dataclass(frozen=True)
class _Measured:
    """What was found in a table."""

    metrics: dict[str, Any]
    rows: dict[str, _Row] = field(default_factory=dict)
    """of the keys drawn now, and of the baseline's that are still there"""
    sample: list[str] = field(default_factory=list)
    """keys drawn now, sorted"""
    here: frozenset[str] = frozenset()
    """keys the baseline mentions that are still there"""

    @property
    def norms(self) -> list[float]:
        return [self.rows[key].norm for key in self.sample]


def _measure(path: Path, settings: DriftSettings, old: Mapping[str, Any] | None) -> _Measured:
    asked = {row["key"] for row in old["sample"]} if old else set()
    mentioned = asked.union(*(row["neighbours"] for row in old["sample"])) if old else set()
    drawn, here = _Drawn(settings.sample, asked), set[str]()
    norms: list[NDArray[np.float64]] = []
    vectors: list[NDArray[np.uint64]] = []
    contents: list[NDArray[np.uint64]] = []
    for block in vector_blocks(path):
        norms.append(block.norms)
        vectors.append(_codes(row.tobytes() for row in block.vectors))
        contents.append(_codes(one.encode() for one in block.contents.to_pylist()))
        keys = block.keys.to_pylist()
        here |= mentioned.intersection(keys)
        drawn.offer(keys, block)
    file = pq.ParquetFile(path)
    said = {
        "encoder": _encoder(path),
        "width": file.schema_arrow.field("vector").type.list_size,
        "count": file.metadata.num_rows,
    }
    if not norms:
        return _Measured(said | _UNKNOWN)

    norm = np.concatenate(norms)
    keys, sample = sorted(drawn.rows), sorted(drawn.sample())
    places = {key: place for place, key in enumerate(keys)}
    matrix = np.stack([drawn.rows[key][2] for key in keys])
    found = nearest_to_keys(path, keys, matrix, settings.neighbours)
    similar = [one.similarity for key in sample for one in found[places[key]]]
    rows = {
        key: _Row(drawn.rows[key][1], _round(norm[drawn.rows[key][0]]), [one.key for one in found[place]])
        for key, place in places.items()
    }
    _, repeats = np.unique(np.concatenate(vectors), return_counts=True)
    distinct = len(np.unique(np.concatenate(contents)))
    quantiles = {_name(q): _round(value) for q, value in zip(_QUANTILES, np.quantile(norm, _QUANTILES), strict=True)}
    said |= {
        "norm": {"mean": _round(norm.mean()), "std": _round(norm.std()), **quantiles},
        "similarity": _round(np.mean(similar)) if similar else None,
        "near_zero": _round(np.mean(norm < 0.01 * np.median(norm))),
        "duplicates": _round(repeats[repeats > 1].sum() / len(norm)),
        "collapsed": _round(max(0, distinct - len(repeats)) / distinct),
    }
    return _Measured(said, rows, sample, frozenset(here))


def _compare(old: Mapping[str, Any], now: _Measured) -> tuple[dict[str, Any], list[float]]:
    """The drift, and the share of its neighbours that each key kept."""
    from scipy.stats import ks_2samp, wasserstein_distance

    before, norms = old["sample"], _norms(old["sample"])
    kept, unchanged, same, still = list[float](), list[float](), 0, 0
    for row in before:
        after = now.rows.get(row["key"])
        if after is None:
            continue
        still += 1
        same += row["content"] == after.content
        length = min(len(row["neighbours"]), len(after.neighbours)) or 1
        left = [key for key in row["neighbours"][:length] if key in now.here]
        if left:
            kept.append(len(set(left) & set(after.neighbours[:length])) / len(left))
            if row["content"] == after.content:
                unchanged.append(kept[-1])
    length = max((len(now.rows[key].neighbours) for key in now.sample), default=0)
    both = bool(norms and now.norms)
    return {
        "same_encoder": old["encoder"] == now.metrics["encoder"],
        "count_before": old["count"],
        "keys_kept": _round(still / len(before)) if before else None,
        "content_kept": _round(same / still) if still else None,
        "neighbours_kept": _round(np.mean(kept)) if kept else None,
        "neighbours_kept_unchanged": _round(np.mean(unchanged)) if unchanged else None,
        "neighbours_at_random": _round(length / max(1, now.metrics["count"] - 1)),
        "norm_ks": _round(ks_2samp(norms, now.norms).statistic) if both else None,
        "norm_shift": _round(wasserstein_distance(norms, now.norms) / (np.mean(norms) or 1.0)) if both else None,
    }, kept


class _Drawn:
    """The ``size`` keys with the smallest hashes so far, and those asked for: number of the row, content, vector."""

    def __init__(self, size: int, asked: Collection[str]) -> None:
        self.size, self.asked = size, asked
        self.rows: dict[str, tuple[int, str, NDArray[np.float64]]] = {}
        self._code: dict[str, int] = {}
        self._limit = 2**64

    def offer(self, keys: Sequence[str], block: Block) -> None:
        codes = _codes(key.encode() for key in keys).tolist()
        for place, (key, code) in enumerate(zip(keys, codes, strict=True)):
            if code < self._limit or key in self.asked:
                self._code[key] = code
                content = block.contents[place].as_py()[:_CONTENT]
                self.rows[key] = block.start + place, content, block.vectors[place].copy()
        smallest = self.sample()
        if len(smallest) == self.size:
            self._limit = self._code[smallest[-1]]
        for key in self.rows.keys() - self.asked - set(smallest):
            del self.rows[key], self._code[key]

    def sample(self) -> list[str]:
        return heapq.nsmallest(self.size, self._code, key=lambda key: (self._code[key], key))


def _codes(values: Iterable[bytes]) -> NDArray[np.uint64]:
    """64 bits of a hash of each value."""
    return np.frombuffer(b"".join(hashlib.blake2b(one, digest_size=8).digest() for one in values), "<u8")


def _encoder(path: Path) -> str | None:
    labels = sorted(pc.unique(pq.read_table(path, columns=["encoder"])["encoder"]).to_pylist())
    return ", ".join(labels) or None


def _norms(sample: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["norm"] for row in sample]


def _read_baseline(path: Path) -> dict[str, dict[str, Any]]:
    return {row["modality"]: row for row in read_parquet(path, BASELINE).to_pylist()}


def _name(quantile: float) -> str:
    return f"p{round(100 * quantile)}"


def _round(value: Any) -> float:
    return round(float(value), _DIGITS)
