"""Publishing turns one training checkpoint into a model folder (:mod:`kgrec.serving.folder`) that answers on its own.

Vectors, or the item-item weights of models without vectors, are taken out of the model and compared with its own scores
before anything is written in place, so that what people ask later is what was evaluated.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

import kgrec
from kgrec.config import Settings
from kgrec.data.io import atomic_folder, read_json, read_parquet, sha256_file, write_json, write_parquet
from kgrec.data.schemas import INTERACTIONS, ITEMS, VOCAB
from kgrec.errors import CheckpointError, DataError
from kgrec.progress import get_logger
from kgrec.serving.card import write_card
from kgrec.serving.evaluation_file import read_evaluation
from kgrec.serving.folder import FORMAT, FORMAT_VERSION, manifest
from kgrec.serving.recommender import SEEN, PublishedModel, load

if TYPE_CHECKING:
    import torch

    from kgrec.models.base import Recommender

log = get_logger(__name__)

#: users whose scores are compared between the model and the folder, spread evenly over all
CHECKED_USERS = 64

#: files of an input folder that decide what the model is; reports and learning curves do not
_HASHED = (".parquet", ".dgl", ".safetensors")


class PublishSettings(Settings):
    """What is published, and under which name."""

    model: str = "multi_kg4rec"
    """name of the trained model to publish, a folder of 10_train"""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """name on the model card; null makes it from the recipe and the model"""
    license: str | None = None
    """licence of the weights as hubs write it (``apache-2.0``); null: ``apache-2.0`` for the synthetic demo, else
    ``other``, because the licences of the data, listed in the card, decide"""
    language: tuple[str, ...] = ("en",)
    """languages of titles and texts, ISO 639-1"""


def publish_model(
    model: Path,
    evaluation: Path,
    graph: Path,
    split: Path,
    items: Path,
    media: Path | None,
    lineage: Path | Mapping[str, Any],
    out: Path,
    settings: PublishSettings,
) -> dict[str, Any]:
    """Write the model folder ``out`` of one trained model.

    :param model: folder of the checkpoint, ``10_train/<name>``
    :param evaluation: folder of ``metrics.json``, ``11_evaluate``
    :param graph: folder of the graph stage; its ``vocab.parquet`` travels with the model
    :param split: folder of ``train.parquet`` and ``valid.parquet``
    :param items: ``items.parquet``, for titles
    :param media: folder of the media stage for the coverage in the card, or None
    :param lineage: ``sources.json`` of the fetch stage (or another JSON or ``dvc.lock`` file), or several by name, each
        a path or a value
    :return: counts for the stage's report
    :raises CheckpointError: if the model is damaged, or its scores cannot be had from what is published
    :raises DataError: if an input is missing or disagrees with another
    """
    model, evaluation, graph, split, items, out = map(Path, (model, evaluation, graph, split, items, out))
    results = read_evaluation(evaluation)
    name = model.name
    if name not in results.models:
        raise DataError(
            f"has no numbers of {name!r}, only of {', '.join(sorted(results.models))}; evaluate it first",
            path=evaluation / "metrics.json",
        )
    vocab = _titled(read_parquet(graph / "vocab.parquet", VOCAB), read_parquet(items, ITEMS))
    seen = _seen(split, vocab)
    origins = _origins(lineage)
    recipe, synthetic = _recipe(origins)

    recommender = _load_trained(model, graph)
    kind, arrays = _arrays(recommender, name)
    users, catalogue = _ids(vocab, "user"), _ids(vocab, "item")

    with atomic_folder(out) as folder:
        if kind == "vectors":
            _write_vectors(users, arrays["users"], folder / "user_vectors.parquet")
            _write_vectors(catalogue, arrays["items"], folder / "item_vectors.parquet")
            shutil.copyfile(model / "model.safetensors", folder / "model.safetensors")
        else:
            _write_tensor(kind, arrays[kind], folder / "model.safetensors")
        write_parquet(vocab, folder / "vocab.parquet")
        write_parquet(seen, folder / "seen.parquet")
        files = sorted(path.name for path in folder.iterdir())
        config = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kgrec_version": kgrec.__version__,
            "kind": kind,
            "model": name,
            "name": settings.name or "-".join(part for part in ("kgrec", recipe, name.replace("_", "-")) if part),
            "recipe": recipe,
            "synthetic": synthetic,
            "users": len(users),
            "items": len(catalogue),
            "vector_size": int(arrays["items"].shape[1]) if kind == "vectors" else None,
            "training": read_json(model / "config.json"),
            "files": manifest(folder, files),
        }
        write_json(config, folder / "config.json")
        metrics = {
            "protocol": results.protocol,
            "model": name,
            **{part: results.numbers(name, part) for part in ("valid", "test") if results.numbers(name, part)},
            "baselines": {other: results.numbers(other) for other in sorted(results.models) if other != name},
        }
        write_json(metrics, folder / "metrics.json")
        inputs = {
            "model": model, "evaluation": evaluation / "metrics.json", "graph": graph, "split": split, "items": items,
            **({"media": Path(media)} if media is not None else {}),
        }  # fmt: skip
        write_json(
            {"kgrec_version": kgrec.__version__, "origins": origins, "inputs": _hashes(inputs)}, folder / "lineage.json"
        )
        counts = {"interactions": len(seen), **_counts(vocab)}
        write_card(
            folder / "README.md",
            config,
            metrics,
            origins,
            counts,
            _coverage(media),
            settings.license,
            settings.language,
        )
        difference = _compare(load(folder), recommender)

    size = sum(path.stat().st_size for path in out.iterdir())
    log.info("published", model=name, kind=kind, out=str(out), bytes=size)
    return {
        "model": name, "kind": kind, "users": len(users), "items": len(catalogue), "seen": len(seen),
        "vector_size": config["vector_size"], "bytes": size, "largest_score_difference": difference,
        "test": metrics.get("test", {}),
    }  # fmt: skip


def _load_trained(model: Path, graph: Path) -> Recommender:
    """The trained recommender, on the CPU, ready to score."""
    from kgrec.graphs.data import load_graph
    from kgrec.models.checkpoint import load_model

    return load_model(model, load_graph(graph))


def _arrays(recommender: Recommender, name: str) -> tuple[str, dict[str, np.ndarray]]:
    """Kind of the model and the arrays that make its scores."""
    if recommender.kind != "vectors":
        return recommender.kind, {recommender.kind: _finite(getattr(recommender, recommender.kind), name)}
    vectors = recommender.vectors()
    if vectors is None:
        raise CheckpointError(f"model {name!r} says it has vectors but gives none, so it cannot be published")
    return "vectors", {part: _finite(tensor, name) for part, tensor in zip(("users", "items"), vectors, strict=True)}


def _finite(tensor: torch.Tensor, name: str) -> np.ndarray:
    array = np.ascontiguousarray(tensor.detach().float().cpu().numpy())
    if not np.isfinite(array).all():
        raise CheckpointError(
            f"model {name!r} holds values that are not finite; train it again with a smaller learning_rate"
        )
    return array


def _compare(published: PublishedModel, recommender: Recommender) -> float:
    """Largest difference between the folder's scores and the model's own, over some users.

    :raises CheckpointError: if they are not the same but for rounding
    """
    import torch

    n_users = len(published.users)
    rows = np.unique(np.linspace(0, n_users - 1, min(CHECKED_USERS, n_users)).astype(np.int64))
    with torch.no_grad():
        wanted = recommender.full_scores(torch.from_numpy(rows)).float().cpu().numpy()
    if wanted.shape != (len(rows), len(published.items)):
        raise CheckpointError(
            f"the model scores {wanted.shape[1]} items, the vocabulary has {len(published.items)}; "
            "the checkpoint belongs to another graph: train again"
        )
    got = np.stack([published.score(published.users[row], published.items) for row in rows])
    difference = float(np.abs(got - wanted).max())
    if difference > 1e-4 * max(1.0, float(np.abs(wanted).max())):
        raise CheckpointError(
            f"the published arrays do not give the model's own scores (largest difference {difference:.3g}); "
            "its vectors() and full_scores() disagree, so it cannot be published"
        )
    return difference


def _titled(vocab: pa.Table, items: pa.Table) -> pa.Table:
    """The vocabulary with the catalogue's title on every item that has none."""
    place = pc.index_in(vocab["id"], value_set=items["item_id"].combine_chunks())
    missing = pc.and_(pc.equal(vocab["type"], "item"), pc.is_null(vocab["title"]))
    title = pc.if_else(missing, items["title"].take(place), vocab["title"])
    column = vocab.schema.get_field_index("title")
    return vocab.set_column(column, "title", title.cast(pa.string()))


def _ids(vocab: pa.Table, kind: str) -> pa.Array:
    rows = vocab.filter(pc.equal(vocab["type"], kind))
    if not len(rows):
        raise DataError(f"vocab.parquet lists no {kind}; run the graph stage again")
    if not np.array_equal(rows["index"].to_numpy(), np.arange(len(rows))):
        raise DataError(
            f"vocab.parquet does not list every {kind} in the order of its index; run the graph stage again"
        )
    return rows["id"].combine_chunks()


def _counts(vocab: pa.Table) -> dict[str, int]:
    counts = vocab.group_by("type").aggregate([("id", "count")]).to_pylist()
    plural = {"user": "users", "item": "items", "entity": "entities", "relation": "relations"}
    return {
        plural[row["type"]]: row["id_count"] for row in sorted(counts, key=lambda row: list(plural).index(row["type"]))
    }


def _seen(split: Path, vocab: pa.Table) -> pa.Table:
    """Interactions of train and valid as ``user_id, item_id, split``, sorted."""
    users, items = _ids(vocab, "user"), _ids(vocab, "item")
    parts = []
    for part in ("train", "valid"):
        path = split / f"{part}.parquet"
        table = read_parquet(path, INTERACTIONS).select(["user_id", "item_id"])
        for column, known in (("user_id", users), ("item_id", items)):
            strangers = table.filter(pc.invert(pc.is_in(table[column], value_set=known)))
            if len(strangers):
                raise DataError(
                    f"{column} {strangers[column][0].as_py()!r} is not in the vocabulary; run the graph stage again",
                    path=path,
                )
        parts.append(table.append_column("split", pa.array([part] * len(table), pa.string())))
    order = [(column, "ascending") for column in SEEN.names]
    return pa.concat_tables(parts).sort_by(order).cast(SEEN)


def _write_vectors(ids: pa.Array, vectors: np.ndarray, path: Path) -> None:
    """:param vectors: shape: (len(ids), d), float32"""
    if len(vectors) != len(ids):
        raise CheckpointError(
            f"the model has {len(vectors):,} rows for {path.stem}, the vocabulary {len(ids):,}; "
            "the checkpoint belongs to another graph: train again"
        )
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    write_parquet(pa.table({"id": ids, "vector": column}), path, use_dictionary=["id"])


def _write_tensor(name: str, tensor: np.ndarray, path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({name: tensor}, path, metadata={"format": "pt"})


def _origins(lineage: Path | Mapping[str, Any]) -> dict[str, Any]:
    """What the lineage names, read: JSON as it is, a ``dvc.lock`` as the hash of every file it lists."""
    named = {Path(lineage).stem: Path(lineage)} if isinstance(lineage, (str, Path)) else dict(lineage)
    return {key: _read_origin(value) if isinstance(value, Path) else value for key, value in named.items()}


def _read_origin(path: Path) -> Any:
    if path.suffix == ".json":
        return read_json(path)
    import yaml

    try:
        lock = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {
            stage: {
                part: {entry["path"]: entry.get("md5") or entry.get("etag") for entry in content.get(part, [])}
                for part in ("deps", "outs")
            }
            for stage, content in lock["stages"].items()
        }
    except FileNotFoundError:
        raise DataError("no such file; give sources.json or dvc.lock as lineage", path=path) from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise DataError(f"is neither JSON nor a dvc.lock file ({error!r})", path=path) from None


def _recipe(origins: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Name of the recipe and whether its data is synthetic, from the sources of the fetch stage."""
    for origin in origins.values():
        if isinstance(origin, Mapping) and "recipe" in origin:
            return str(origin["recipe"]), bool(origin.get("synthetic", origin["recipe"] == "demo"))
    return None, False


def _hashes(inputs: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every table, graph and weight file, and the rows of tables, by ``<input>/<file>``."""
    found: dict[str, dict[str, Any]] = {}
    for name, path in inputs.items():
        files = [path] if path.is_file() else [one for kind in _HASHED for one in path.rglob(f"[!.]*{kind}")]
        for file in files:
            place = file.name if path.is_file() else file.relative_to(path).as_posix()
            entry: dict[str, Any] = {"sha256": sha256_file(file), "bytes": file.stat().st_size}
            if file.suffix == ".parquet":
                entry["rows"] = pq.read_metadata(file).num_rows
            found[f"{name}/{place}"] = entry
    return found


def _coverage(media: Path | None) -> dict[str, float]:
    """Share of items that have each modality, from the media stage's ledger; empty without one."""
    if media is None or not (Path(media) / "ledger.parquet").exists():
        return {}
    ledger = read_parquet(Path(media) / "ledger.parquet", columns=["key", "modality", "status"])
    ledger = ledger.filter(pc.starts_with(ledger["key"], "item:"))
    ledger = ledger.append_column("ok", pc.cast(pc.equal(ledger["status"], "ok"), pa.float64()))
    rows = ledger.group_by("modality").aggregate([("ok", "mean")]).sort_by("modality").to_pylist()
    return {row["modality"]: row["ok_mean"] for row in rows}
