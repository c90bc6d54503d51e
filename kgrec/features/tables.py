"""A feature table has one row per key that has the modality, sorted by key, in row groups that each become one tensor
without a copy.

Legend: n rows, D width, T tokens of a content. A content is named by its digest, the 32 bytes of its SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec.data import schemas
from kgrec.data.io import PARQUET_OPTIONS, atomic_file, check_parquet
from kgrec.errors import DataError

#: SHA-256 of a content
DIGEST = np.dtype("S32")
#: rows of a row group of vectors
GROUP_ROWS = 16_384
#: bytes of token states after which a row group of tokens ends
GROUP_BYTES = 32 << 20


def read_vectors(path: Path) -> tuple[pa.Array, Tensor]:
    """All keys and vectors of a feature table.

    :return: keys in order, shape: (n,); vectors, shape: (n, D), float16
    :raises DataError: if it is not a feature table, or a row has no vector
    """
    with _open(path) as file:
        vectors = torch.empty(file.metadata.num_rows, _width(file, path), dtype=torch.float16)
        keys, start = [], 0
        for part, values in _groups(file, path):
            vectors[start : start + len(part)] = values
            keys.append(part)
            start += len(part)
    return pa.concat_arrays(keys) if keys else pa.array([], pa.string()), vectors


def iter_vectors(path: Path) -> Iterator[tuple[pa.Array, Tensor]]:
    """Keys and vectors of a feature table by row group, as :func:`read_vectors` gives them; no value is copied."""
    with _open(path) as file:
        yield from _groups(file, path)


def vector_width(path: Path) -> int:
    """D of a feature table. :raises DataError: if it is not one"""
    with _open(path) as file:
        return _width(file, path)


def _open(path: Path) -> pq.ParquetFile:
    check_parquet(path, pa.schema([("key", pa.string()), ("vector", pa.null())]))
    return pq.ParquetFile(path, page_checksum_verification=True)


def _width(file: pq.ParquetFile, path: Path) -> int:
    kind = file.schema_arrow.field("vector").type
    if not (pa.types.is_fixed_size_list(kind) and pa.types.is_float16(kind.value_type)):
        raise DataError(f"column vector is {kind}, not a fixed-size list of float16", path=path)
    return kind.list_size


def _groups(file: pq.ParquetFile, path: Path) -> Iterator[tuple[pa.Array, Tensor]]:
    width = _width(file, path)
    for group in range(file.num_row_groups):
        try:
            table = file.read_row_group(group, columns=["key", "vector"])
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"is damaged ({error}); rerun the features stage", path=path) from error
        if not table.num_rows:
            continue
        column = table["vector"].combine_chunks()
        values = column.flatten()
        if column.null_count or values.null_count:
            raise DataError("has a row without a vector; rerun the features stage", path=path)
        yield table["key"].combine_chunks(), torch.from_dlpack(values).view(-1, width)


class VectorWriter:
    """Writes a feature table row group by row group; a context manager that renames the file last.

    :param label: ``<encoder>@<first twelve digits of its fingerprint>``
    """

    def __init__(self, path: Path, width: int, label: str) -> None:
        self.width, self.label = width, label
        self._file = _Writer(path, schemas.features(width), "vector.list.element")

    def __enter__(self) -> VectorWriter:
        self._file.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._file.__exit__(*exc)

    def write(self, keys: pa.Array, digests: NDArray[Any], vectors: NDArray[np.float16]) -> None:
        """Append one row group. All but the last have :data:`GROUP_ROWS` rows, so that equal tables are equal files.

        :param keys: rising, behind those written before. shape: (n,)
        :param digests: ``S32``, shape: (n,)
        :param vectors: shape: (n, D)
        """
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self.width)
        self._file.write(keys, digests, self.label, values)


class TokenWriter:
    """Writes a token table as :class:`VectorWriter` writes vectors; a row group ends behind :data:`GROUP_BYTES`."""

    def __init__(self, path: Path, width: int, label: str) -> None:
        self.width, self.label = width, label
        self._file = _Writer(path, schemas.feature_tokens(width), "tokens.list.element.list.element")

    def __enter__(self) -> TokenWriter:
        self._file.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._file.__exit__(*exc)

    def write(
        self, keys: pa.Array, digests: NDArray[Any], counts: NDArray[np.int32], states: NDArray[np.float16]
    ) -> None:
        """Append one row group.

        :param counts: T of each row. shape: (n,)
        :param states: of the tokens of all rows, one after another. shape: (sum of counts, D)
        """
        offsets = np.zeros(len(counts) + 1, np.int32)
        np.cumsum(counts, out=offsets[1:])
        values = pa.FixedSizeListArray.from_arrays(pa.array(states.reshape(-1)), self.width)
        self._file.write(keys, digests, self.label, pa.ListArray.from_arrays(offsets, values))


class _Writer:
    def __init__(self, path: Path, schema: pa.Schema, floats: str) -> None:
        self._schema, self._atomic = schema, atomic_file(path)
        self._options = PARQUET_OPTIONS | {
            "use_dictionary": ["encoder"], "column_encoding": {floats: "BYTE_STREAM_SPLIT"}, "write_statistics": ["key"],
            "write_page_checksum": True,
        }  # fmt: skip

    def __enter__(self) -> None:
        path = self._atomic.__enter__()
        self._writer = pq.ParquetWriter(path, self._schema, **self._options)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._atomic.__exit__(kind, error, trace)

    def write(self, keys: pa.Array, digests: NDArray[Any], label: str, values: pa.Array) -> None:
        columns = [keys, to_hex(digests), pa.repeat(pa.scalar(label), len(keys)), values]
        self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=max(1, len(keys)))


def from_hex(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Digests of a column of hexadecimal SHA-256 hashes. shape: (n,), ``S32``

    :raises ValueError: if one is null or no such hash
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = []
    for chunk in chunks:
        sizes = pc.binary_length(chunk)
        if chunk.null_count or (len(chunk) and pc.min_max(sizes).as_py() != {"min": 64, "max": 64}):
            raise ValueError("a hash is not 64 hexadecimal digits")
        if len(chunk):
            _, offsets, text = chunk.buffers()
            start = int(np.frombuffer(offsets, np.int32)[chunk.offset])
            parts.append(bytes.fromhex(text[start : start + 64 * len(chunk)].to_pybytes().decode("ascii")))
    return np.frombuffer(b"".join(parts), DIGEST)


def to_hex(digests: NDArray[Any]) -> pa.Array:
    """Hexadecimal digits of digests. shape: (n,), string"""
    text = pa.py_buffer(np.ascontiguousarray(digests).tobytes().hex().encode())
    offsets = pa.py_buffer(np.arange(0, 64 * len(digests) + 1, 64, dtype=np.int32))
    return pa.StringArray.from_buffers(len(digests), offsets, text)
