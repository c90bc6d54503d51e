"""Imported features are vectors that somebody else computed: a matrix, and a word on whose row is whose.

Read are ``.npy`` (MMRec's ``image_feat.npy``), ``.npz`` and ``.safetensors`` with one matrix or a named one, and tables
that say the key themselves: Parquet and CSV with a key column and either one list column or one column per number. Which
item a row of a bare matrix belongs to is said by a file of ids: MMRec's ``i_id_mapping.csv``, KGAT's ``item_list.txt``,
a list of ids in the order of the rows. Nothing is ever unpickled, and the matrix is never held in memory.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kgrec.config import Settings
from kgrec.data.io import sha256_file
from kgrec.errors import ConfigError, DataError
from kgrec.features.tables import DIGEST, GROUP_ROWS, VectorWriter
from kgrec.progress import get_logger, item_progress

log = get_logger(__name__)

#: names of columns that say whose a row is, and which row it is, compared without regard to case
ID_COLUMNS = ("key", "item_id", "asin", "org_id", "movie_id", "movieid", "id")
INDEX_COLUMNS = ("itemid", "remap_id", "index", "row")
#: columns of numbers that together are a vector: a stem and a number
_NUMBERED = re.compile(r"(.*?)(\d+)")
_SHOWN = 20
_CHUNK_BYTES = 32 << 20


class ImportSettings(Settings):
    """One file of ready-made vectors."""

    file: str
    """Name of the file in the folder of imported features: .npy, .npz, .safetensors, .parquet or .csv."""
    ids: str | None = None
    """Name of the file that says whose the rows are: a table with a column of ids and one of row numbers from 0 (in any
    order), a table or plain text with the ids in the order of the rows, or JSON (a list of ids, or id -> row number). null: a
    table says its keys itself, and of a bare matrix the row number is the item's id, as in MMRec's own files."""
    id_column: str | None = None
    """Column of the item's id; null: the first of key, item_id, asin, org_id, movie_id, id."""
    index_column: str | None = None
    """Column of the row number; null: the first of itemID, remap_id, index, row, if there is one."""
    array: str | None = None
    """Name of the matrix in an .npz or .safetensors file that holds several."""
    key_prefix: Literal["item", "entity"] = "item"
    """What the ids are of. An id that begins with item: or entity: says so itself."""
    zero_rows: Literal["missing", "keep"] = "missing"
    """What a row of zeros means: MMRec writes one where an item has no picture or no text."""
    name: str | None = None
    """What the encoder column calls the vectors; null: the file's name."""


def import_features(settings: ImportSettings, folder: Path, modality: str, out: Path) -> dict[str, Any]:
    """Write ``<out>/<modality>.parquet`` (:func:`kgrec.data.schemas.features`) from a file of vectors.

    Values are rounded to float16. A row is set aside, with its number and the reason, if it is not finite, is all zeros
    (see ``zero_rows``), or does not fit float16. ``content_sha256`` is the hash of the row's float16 bytes
    (little-endian), the label ``import:<name>@<first twelve digits of the file's SHA-256>``.

    :param folder: where ``settings.file`` and ``settings.ids`` lie
    :return: ``encoder`` (the label), ``width``, ``rows``, ``keys``, ``duplicates`` (keys that share the vector of another:
        filled with a mean, maybe), ``set_aside`` (reason -> ``count`` and the ``first`` row numbers, from 0)
    :raises ConfigError: if the settings name an array or a column that is not there, or must name one
    :raises DataError: if a file is missing, damaged or of another form, ids and rows differ in number, or an id is twice
    """
    path = _inside(folder, settings.file)
    listed = None if settings.ids is None else _inside(folder, settings.ids)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{modality}.", suffix=".part") as scratch:
        matrix, keys = _read(path, settings, Path(scratch))
        if listed is not None:
            keys = _read_ids(listed, settings, len(matrix))
        elif keys is None:
            keys = [str(row) for row in range(len(matrix))]
        keys = [key if key.startswith(("item:", "entity:")) else f"{settings.key_prefix}:{key}" for key in keys]
        order = _sorted(keys, listed or path)
        label = f"import:{settings.name or settings.file}@{sha256_file(path)[:12]}"
        writer = VectorWriter(out / f"{modality}.parquet", matrix.shape[1], label)
        report = {"encoder": label} | _write(matrix, keys, order, writer, path, settings.zero_rows == "keep")
    log.info("imported features", modality=modality, encoder=label, keys=report["keys"])
    return report


def _write(
    matrix: NDArray[Any], keys: Sequence[str], order: NDArray[np.int64], writer: VectorWriter, path: Path, zeros: bool
) -> dict[str, Any]:
    aside: defaultdict[str, list[int]] = defaultdict(list)
    prints: list[NDArray[np.uint64]] = []  # eight bytes of each vector's hash: enough to count those that are alike
    with writer, item_progress(f"importing {path.name}", len(order), "rows") as bar:
        for rows, halves in _groups(_usable(matrix, order, zeros, aside, bar.advance), matrix.shape[1]):
            digests = np.array([hashlib.sha256(half.data).digest() for half in halves], DIGEST)
            prints.append(digests.view("<u8")[::4].copy())
            writer.write(pa.array([keys[row] for row in rows], pa.string()), digests, halves)
        if not prints:
            said = ", ".join(f"{len(rows):,} {reason}" for reason, rows in aside.items()) or "there are none"
            raise DataError(f"no row of it can be used ({said})", path=path)
    seen = np.concatenate(prints)
    return {
        "width": matrix.shape[1], "rows": len(order), "keys": len(seen), "duplicates": len(seen) - len(np.unique(seen)),
        "set_aside": {
            reason: {"count": len(rows), "first": sorted(rows)[:_SHOWN]} for reason, rows in sorted(aside.items())
        },
    }  # fmt: skip


_Rows = tuple[NDArray[np.int64], NDArray[np.float16]]


def _usable(
    matrix: NDArray[Any],
    order: NDArray[np.int64],
    zeros: bool,
    aside: dict[str, list[int]],
    done: Callable[[int], None],
) -> Iterator[_Rows]:
    """Numbers and vectors of the rows that can be used, in ``order``, a few megabytes at a time; the others go to
    ``aside``."""
    step = max(1, min(GROUP_ROWS, _CHUNK_BYTES // (8 * matrix.shape[1])))
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        reasons, halves = _halved(matrix[rows], zeros)
        for reason, bad in reasons.items():
            if bad.any():
                aside[reason] += rows[bad].tolist()
        good = ~np.logical_or.reduce(list(reasons.values()))
        yield rows[good], halves[good]
        done(len(rows))


def _groups(chunks: Iterator[_Rows], width: int) -> Iterator[_Rows]:
    """The same rows, :data:`GROUP_ROWS` at a time and what is left."""
    rows, halves = np.empty(0, np.int64), np.empty((0, width), np.float16)
    for more_rows, more_halves in chunks:
        rows, halves = np.concatenate([rows, more_rows]), np.concatenate([halves, more_halves])
        while len(rows) >= GROUP_ROWS:
            yield rows[:GROUP_ROWS], halves[:GROUP_ROWS]
            rows, halves = rows[GROUP_ROWS:], halves[GROUP_ROWS:]
    if len(rows):
        yield rows, halves


def _halved(values: NDArray[Any], zeros: bool) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.float16]]:
    """Rows in float16, and which of them cannot be used, by reason. shapes: (n,), (n, width)"""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        halves = np.ascontiguousarray(values, dtype="<f2")
    finite = np.isfinite(values).all(1)
    zero = ~values.any(1)
    return {
        "not finite": ~finite,
        "zeros": zero & (not zeros),
        "beyond float16 (65,504)": finite & ~np.isfinite(halves).all(1),
        "too small for float16 (6e-8)": ~zero & ~halves.any(1),
    }, halves


def _sorted(keys: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Rows in the order of their keys. :raises DataError: if two rows have one key"""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for before, row in pairwise(order):
        if keys[before] == keys[row]:
            first, second = sorted((before, row))
            raise DataError(f"rows {first} and {second} (from 0) both have the key {keys[row]!r}; keep one", path=path)
    return np.array(order, np.int64)


# ---- matrices


def _read(path: Path, settings: ImportSettings, scratch: Path) -> tuple[NDArray[Any], list[str] | None]:
    """The matrix, mapped from a file, and the keys of its rows if the file says them."""
    readers: dict[str, Callable[[Path, ImportSettings, Path], tuple[NDArray[Any], list[str] | None]]] = {
        ".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors, ".parquet": _read_table,
        ".csv": _read_table,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(readers)
        raise DataError(f"is none of {known}; save the matrix as .npy (numpy.save of a plain array)", path=path)
    matrix, keys = reader(path, settings, scratch)
    if matrix.ndim != 2 or not matrix.shape[1] or matrix.dtype.kind not in "fiu":
        raise DataError(f"holds {matrix.dtype} of shape {matrix.shape}, not rows of numbers", path=path)
    return matrix, keys


def _read_npy(path: Path, settings: ImportSettings, scratch: Path) -> tuple[NDArray[Any], None]:
    return _map(path, path), None


def _read_npz(path: Path, settings: ImportSettings, scratch: Path) -> tuple[NDArray[Any], None]:
    try:
        with zipfile.ZipFile(path) as archive:
            name = _choose([member.removesuffix(".npy") for member in archive.namelist()], settings, path)
            with archive.open(f"{name}.npy") as packed, (scratch / "array.npy").open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise DataError(f"is no readable .npz archive ({error})", path=path) from None
    return _map(scratch / "array.npy", path), None


def _map(path: Path, shown: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        objects = "Python objects" in str(error) or "pickle" in str(error)
        why = "it holds Python objects, which are never read" if objects else str(error)
        raise DataError(f"is no array that can be read ({why}); save one with numpy.save", path=shown) from None
    return array


def _read_safetensors(path: Path, settings: ImportSettings, scratch: Path) -> tuple[NDArray[Any], None]:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensor = file.get_tensor(_choose(list(file.keys()), settings, path))  # mapped, not read
    except (SafetensorError, OSError) as error:
        raise DataError(f"is no readable safetensors file ({error})", path=path) from None
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy(), None
    plain = np.lib.format.open_memmap(scratch / "array.npy", "w+", np.float32, tuple(tensor.shape))
    for start in range(0, len(tensor), GROUP_ROWS):
        plain[start : start + GROUP_ROWS] = tensor[start : start + GROUP_ROWS].float().numpy()
    return plain, None


def _choose(names: Sequence[str], settings: ImportSettings, path: Path) -> str:
    if settings.array is not None:
        if settings.array not in names:
            raise ConfigError(
                f"array: {path} has no {settings.array!r}; it has {', '.join(sorted(names)) or 'nothing'}"
            )
        return settings.array
    if len(names) != 1:
        raise ConfigError(f"array: {path} holds {', '.join(sorted(names)) or 'nothing'}; name one of them")
    return names[0]


def _read_table(path: Path, settings: ImportSettings, scratch: Path) -> tuple[NDArray[Any], list[str] | None]:
    """Spread a table's numbers into a matrix on disk, a batch at a time."""
    try:
        schema, batches = _open_parquet(path) if path.suffix.lower() == ".parquet" else _open_csv(path, settings)
        key, values = _columns(schema, settings, path)
        keys: list[str] = []
        rows = width = 0
        with (scratch / "values").open("wb") as stream:
            for batch in batches:
                part = _numbers(batch, values, path, rows)
                if rows and part.shape[1] != width:
                    raise DataError(f"row {rows} has {part.shape[1]} numbers, those before it {width}", path=path)
                if key is not None:
                    names = batch[key].cast(pa.string())
                    if names.null_count:
                        at = rows + names.is_null().to_pylist().index(True)
                        raise DataError(f"row {at} (from 0) has no {key}", path=path)
                    keys += names.to_pylist()
                rows, width = rows + len(part), part.shape[1]
                part.tofile(stream)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"cannot be read as a table of features ({error})", path=path) from None
    if not rows:
        raise DataError("has no rows", path=path)
    return np.memmap(scratch / "values", part.dtype, "r", shape=(rows, width)), keys if key is not None else None


_Batches = tuple[pa.Schema, Iterator[pa.RecordBatch]]


def _open_parquet(path: Path) -> _Batches:
    file = pq.ParquetFile(path)
    return file.schema_arrow, file.iter_batches(batch_size=4096)


def _open_csv(path: Path, settings: ImportSettings) -> _Batches:
    with path.open(encoding="utf-8-sig") as stream:
        head = stream.readline()
    delimiter = "\t" if "\t" in head else ","
    names = next(csv.reader([head], delimiter=delimiter), [])
    key = _pick(names, ID_COLUMNS, settings.id_column)
    types = {name: pa.float64() for name in names if _NUMBERED.fullmatch(name)} | ({key: pa.string()} if key else {})
    reader = pyarrow.csv.open_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(column_types=types),
    )
    return reader.schema, iter(reader)


def _columns(schema: pa.Schema, settings: ImportSettings, path: Path) -> tuple[str | None, list[str]]:
    """The key column, if the ids come from here, and the columns of numbers: one of lists, or many in their numbers'
    order."""
    key = _pick(schema.names, ID_COLUMNS, settings.id_column)
    if settings.ids is None and key is None:
        wanted = settings.id_column or ", ".join(ID_COLUMNS)
        raise ConfigError(f"id_column: {path} has no column {wanted}; it has {', '.join(schema.names[:_SHOWN])}")
    kinds = {name: schema.field(name).type for name in schema.names if name != key}
    lists = [name for name, kind in kinds.items() if _is_list(kind)]
    numbers = [name for name, kind in kinds.items() if pa.types.is_floating(kind) or pa.types.is_integer(kind)]
    if not lists:
        parts = {name: match for name in numbers if (match := _NUMBERED.fullmatch(name))}
        stems = {match[1] for match in parts.values()}
        if len(stems) != 1 or len(parts) < len(numbers):
            odd = ", ".join(name for name in numbers if name not in parts) or ", ".join(sorted(stems)) or "none"
            raise DataError(
                f"its columns of numbers should be one vector, f0, f1 …; drop the others ({odd})", path=path
            )
        numbers = sorted(parts, key=lambda name: int(parts[name][2]))
        places = [int(parts[name][2]) for name in numbers]
        if places != list(range(places[0], places[0] + len(places))):
            raise DataError(f"columns {numbers[0]} to {numbers[-1]} have a gap or a double", path=path)
    elif len(lists) > 1:
        raise DataError(f"has several columns of lists ({', '.join(lists)}); keep one", path=path)
    return (key if settings.ids is None else None), lists or numbers


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _numbers(batch: pa.RecordBatch, columns: list[str], path: Path, row: int) -> NDArray[Any]:
    """The vectors of a batch; a missing number is NaN. shape: (n, width)"""
    first = batch[columns[0]]
    if not _is_list(first.type):
        kind = np.result_type(*(batch[name].type.to_pandas_dtype() for name in columns), np.float16)
        return np.stack([batch[name].to_numpy(zero_copy_only=False).astype(kind) for name in columns], axis=1)
    if first.null_count:
        at = row + first.is_null().to_pylist().index(True)
        raise DataError(f"row {at} (from 0) has no {columns[0]}; leave the row out", path=path)
    if not pa.types.is_fixed_size_list(first.type):
        lengths = first.value_lengths().to_numpy()
        if (lengths != lengths[0]).any():
            at = int(np.flatnonzero(lengths != lengths[0])[0])
            raise DataError(f"row {row + at} (from 0) has {lengths[at]} numbers, not {lengths[0]}", path=path)
    flat: NDArray[Any] = first.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(first), -1)


# ---- ids


def _read_ids(path: Path, settings: ImportSettings, rows: int) -> list[str]:
    """The id of each row.

    :raises DataError: if an id or a row number is twice, a number is out of range, or there are more or fewer than rows
    """
    pairs = _read_json_ids(path) if path.suffix.lower() == ".json" else _read_table_ids(path, settings)
    ids: list[str | None] = [None] * rows
    lines: dict[str, int | None] = {}
    for count, (line, name, index) in enumerate(pairs):
        row = count if index is None else index
        if name in lines:
            raise DataError(f"id {name!r} is there twice, first on line {lines[name]}", path=path, line=line)
        if not 0 <= row < rows:
            raise DataError(f"names row {row} of a matrix with {rows:,} rows (from 0)", path=path, line=line)
        if ids[row] is not None:
            raise DataError(f"row {row} has two ids, {ids[row]!r} and {name!r}", path=path, line=line)
        ids[row], lines[name] = name, line
    if len(lines) != rows:
        raise DataError(
            f"has ids for {len(lines):,} rows, the matrix has {rows:,}; they are not of one data set", path=path
        )
    return [name for name in ids if name is not None]


_Pair = tuple["int | None", str, "int | None"]


def _read_json_ids(path: Path) -> Iterator[_Pair]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"id {twice!r} is there twice", path=path)
        return found

    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except ValueError as error:
        raise DataError(f"is not valid JSON ({error})", path=path) from None
    entries = list(value.items()) if isinstance(value, dict) else [(name, None) for name in value]
    for name, index in entries:
        if isinstance(name, bool) or not isinstance(name, (str, int)) or not isinstance(index, (int, type(None))):
            raise DataError(f"is neither a list of ids nor an object of id -> row number (at {name!r})", path=path)
        yield None, str(name), index


def _read_table_ids(path: Path, settings: ImportSettings) -> Iterator[_Pair]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            rows = _split(stream)
            line, head = next(rows, (0, []))
            if not head:
                return
            name = _pick(head, ID_COLUMNS, settings.id_column)
            index = _pick(head, INDEX_COLUMNS, settings.index_column)
            for wanted, found in ((settings.id_column, name), (settings.index_column, index)):
                if wanted is not None and found is None:
                    raise ConfigError(f"{path} has no column {wanted!r}; it has {', '.join(head)}")
            if name is None:
                if len(head) != 1:
                    raise ConfigError(f"id_column: name the column of ids in {path}; it has {', '.join(head)}")
                if index is None:  # no header: a plain list
                    yield line, head[0], None
            place = head.index(name) if name is not None else 0
            number = head.index(index) if index is not None and name is not None else None
            for line, fields in rows:
                if len(fields) != len(head):
                    raise DataError(f"has {len(fields)} fields, its header {len(head)}", path=path, line=line)
                if number is None:
                    yield line, fields[place], None
                elif fields[number].isascii() and fields[number].isdigit():
                    yield line, fields[place], int(fields[number])
                else:
                    raise DataError(f"row number {fields[number]!r} is not a whole number", path=path, line=line)
        except UnicodeDecodeError as error:
            raise DataError(f"is not UTF-8 (byte {error.start}); save it as UTF-8", path=path) from None
        except csv.Error as error:
            raise DataError(f"is not a readable table ({error})", path=path) from None


def _split(stream: IO[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines and fields of a table: by tabs (MMRec's .csv too), commas, or, as KGAT's lists, spaces."""
    head = stream.readline()
    stream.seek(0)
    if "\t" not in head and "," not in head:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield number, line.split()
        return
    rows = csv.reader(stream, delimiter="\t" if "\t" in head else ",")
    for fields in rows:
        if fields:
            yield rows.line_num, fields


def _pick(names: Sequence[str], known: Sequence[str], wanted: str | None) -> str | None:
    if wanted is not None:
        return wanted if wanted in names else None
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in known if name in by_lower), None)


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError("no such file; put it there or correct its name in the settings", path=path)
    return path
