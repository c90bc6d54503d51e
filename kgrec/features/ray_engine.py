"""Encoding as a Ray Data job: a row is some positions of the media tables, an actor holds the encoder and reads the
contents itself, and what comes back to the driver, who keeps the cache, are vectors.

Batches have the same shapes as on one machine and run with one thread each, so on processors of one kind the output has
the same bytes. The media folder lies on a file system all machines share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import ConfigError, DataError, EncoderUnavailable
from kgrec.features.contents import Contents
from kgrec.features.local_engine import BadContent, Batch, EncoderCard, EncoderSpec, encode_contents

#: batches an actor is given at a time
_TASK_BATCHES = 64


class RayEngine:
    """Encodes on the cluster named by ``RAY_ADDRESS``, or in processes of this machine.

    An actor takes one CPU; where the cluster has GPUs, one GPU and its share of the CPUs for decoding.

    :param spec: a model in files is named by a path that is right on every machine
    :param tokens: whether token states are wanted
    :raises ConfigError: if Ray is not installed
    :raises EncoderUnavailable: if a machine of the cluster cannot have the encoder
    """

    def __init__(self, spec: EncoderSpec, tokens: bool = False) -> None:
        try:
            import ray
        except ImportError:
            raise ConfigError("features.engine ray needs Ray: pip install 'kgrec[ray]'") from None
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        self._ray = ray
        cpus, gpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
        if spec.device == "auto":
            spec = replace(spec, device="cuda" if gpus else "cpu")
        on_cpu = spec.device == "cpu"
        self._actors = max(1, cpus if on_cpu else gpus)
        self._share: dict[str, Any] = (
            {"num_cpus": 1} if on_cpu else {"num_gpus": 1, "num_cpus": max(1, cpus // self._actors)}
        )
        self._spec, self.tokens = spec, tokens
        found = ray.get(ray.remote(_describe).options(**self._share).remote(spec))
        if isinstance(found, str):
            raise EncoderUnavailable(found)
        self.card: EncoderCard = found

    def encode(self, contents: Contents, positions: NDArray[np.int64]) -> Iterator[Batch]:
        """As :meth:`kgrec.features.local_engine.LocalEngine.encode`, in any order.

        :raises DataError: if a machine cannot read the media tables
        :raises ConfigError: if the encoder is another one on some machine: other weights, libraries or processor
        """
        size = int(self.card.description["batch_size"])
        rows = size * int(np.clip(len(positions) // (size * 4 * self._actors), 1, _TASK_BATCHES))
        tasks = [{"positions": positions[start : start + rows].tobytes()} for start in range(0, len(positions), rows)]
        data = self._ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
            _Worker,
            fn_constructor_args=(self._spec, self.card.fingerprint, contents, self.tokens, self._share["num_cpus"]),
            batch_size=1, batch_format="pyarrow", compute=self._ray.data.ActorPoolStrategy(size=min(self._actors, len(tasks))),
            **self._share,
        )  # fmt: skip
        for row in data.iter_rows():
            yield self._batch(row)

    def _batch(self, row: dict[str, Any]) -> Batch:
        if row["error"] == "content":
            raise BadContent(row["position"], row["message"])
        if row["error"]:
            raise {"data": DataError, "config": ConfigError}[row["error"]](row["message"])
        positions = np.frombuffer(row["positions"], np.int64)
        tokens = None
        if self.tokens:
            states = np.frombuffer(row["tokens"], "<f2").reshape(-1, self.card.token_width or 1)
            tokens = np.split(states, np.cumsum(np.frombuffer(row["counts"], np.int64))[:-1])
        vectors = np.frombuffer(row["vectors"], "<f2").reshape(len(positions), -1)
        return Batch(positions, vectors, np.frombuffer(row["cut"], np.int32), tokens)


def _describe(spec: EncoderSpec) -> EncoderCard | str:
    try:
        return EncoderCard.of(spec.open())
    except EncoderUnavailable as error:
        return str(error)


class _Worker:
    """Encodes the contents at the positions of a row; errors are rows, too."""

    def __init__(self, spec: EncoderSpec, fingerprint: str, contents: Contents, tokens: bool, threads: int) -> None:
        self._encoder = spec.open()
        self._as_described = self._encoder.fingerprint == fingerprint
        self._contents, self._tokens, self._threads = contents, tokens, threads

    def __call__(self, task: Any) -> Iterator[dict[str, list[Any]]]:
        positions = np.frombuffer(task["positions"][0].as_py(), np.int64)
        if not self._as_described:
            name = self._encoder.name
            message = f"encoder {name!r} is not the same on all machines: weights, libraries or processors differ"
            yield _row(error="config", message=message)
            return
        try:
            contents = self._contents.read(positions)
            for batch in encode_contents(self._encoder, contents, self._tokens, self._threads):
                states = batch.tokens or []
                yield _row(
                    positions=batch.positions.tobytes(), vectors=batch.vectors.astype("<f2").tobytes(),
                    cut=batch.cut.tobytes(), counts=np.array([len(one) for one in states], np.int64).tobytes(),
                    tokens=b"".join(one.astype("<f2").tobytes() for one in states),
                )  # fmt: skip
        except BadContent as error:
            yield _row(error="content", position=error.position, message=error.reason)
        except DataError as error:
            yield _row(error="data", message=str(error))


def _row(**values: Any) -> dict[str, list[Any]]:
    empty = dict.fromkeys(("positions", "vectors", "cut", "counts", "tokens"), b"")
    return {name: [value] for name, value in (empty | {"error": "", "message": "", "position": -1} | values).items()}
