"""The evaluate stage ranks the whole catalogue for every user with every trained model and says which model is better,
how sure that is, and for whom."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kgrec.data.io import read_json, write_json, write_parquet
from kgrec.data.split import PROTOCOL
from kgrec.device import find_device
from kgrec.errors import ConfigError, DataError
from kgrec.evaluation.groups import Groups, activity_rows, popularity_rows, quartiles
from kgrec.evaluation.plots import plot_differences, plot_groups, plot_metrics, write_csv
from kgrec.evaluation.protocol import (
    EvaluateSettings,
    coverages,
    evaluated_users,
    mean_metrics,
    measure,
    rank_users,
    read_pairs,
)
from kgrec.evaluation.ranking import UserItems
from kgrec.evaluation.significance import paired_tests
from kgrec.graphs.data import GraphData, load_graph
from kgrec.graphs.vocab import Vocabulary, read_vocabulary
from kgrec.models.checkpoint import load_model
from kgrec.progress import get_logger, item_progress

__all__ = ["EvaluateSettings", "evaluate_models"]

log = get_logger(__name__)


def evaluate_models(models: Path, graph: Path, split: Path, out: Path, settings: EvaluateSettings) -> dict[str, Any]:
    """Evaluate every model folder in ``models`` on the validation and test interactions.

    Writes into ``out``:

    - ``metrics.json``: ``protocol``, and ``models`` -> name -> ``valid`` and ``test`` -> ``Recall@20`` -> mean over
      users
    - ``users.parquet``: test metrics of every user and model, with the user's activity group
    - ``significance.json``: paired tests between models on the test metrics
    - ``plots/``: ``metrics``, ``groups`` and ``differences``, each as ``.csv`` and ``.png``

    :param models: folder with one folder per trained model
    :param graph: folder of the graph stage
    :param split: folder with ``train.parquet``, ``valid.parquet`` and ``test.parquet``
    :return: counts
    :raises DataError: if there is no model, no test interaction, or the graph was not built from this split
    :raises ConfigError: if the baseline is not among the models
    :raises CheckpointError: if a model folder is damaged or was trained on another graph
    """
    folders = _model_folders(models, settings)
    data = load_graph(graph)
    vocabulary = read_vocabulary(graph / "vocab.parquet")
    parts = {name: read_pairs(split / f"{name}.parquet", vocabulary) for name in ("train", "valid", "test")}
    _check_same_train(parts["train"], data, split, graph)
    train, valid, test = (_user_items(parts[name], data) for name in ("train", "valid", "test"))
    if not len(test.items):
        raise DataError(
            "has no interactions to evaluate on; give the split a larger test share", path=split / "test.parquet"
        )
    both = _user_items(np.concatenate([parts["train"], parts["valid"]], axis=1), data)
    seen = both if settings.mask == "train+valid" else train
    users = evaluated_users(test)
    activity = quartiles(train.counts())
    popularity = quartiles(np.bincount(parts["train"][1], minlength=data.n_items))
    device = find_device(settings.device)

    numbers: dict[str, dict[str, dict[str, float]]] = {}
    columns: dict[str, dict[str, np.ndarray]] = {}
    groups: list[dict[str, Any]] = []
    with item_progress("evaluate", len(folders), "models") as bar:
        for name, folder in folders.items():
            model = load_model(folder, data).to(device)
            numbers[name] = {}
            if len(valid.items):
                watched = evaluated_users(valid)
                lists = rank_users(model, watched, train, settings, device=device)
                numbers[name]["valid"] = mean_metrics(measure(lists, watched, valid, settings))
            lists = rank_users(model, users, seen, settings, device=device)
            columns[name] = measure(lists, users, test, settings)
            numbers[name]["test"] = mean_metrics(columns[name]) | coverages(lists, data.n_items, settings)
            for kind, rows in (
                ("user activity", activity_rows(users, columns[name], activity)),
                ("item popularity", popularity_rows(lists, users, test, popularity, settings.topk)),
            ):
                groups.extend({"kind": kind, "model": name, **row} for row in rows)
            log.info("evaluated model", model=name, **numbers[name]["test"])
            bar.advance()

    comparisons = _compare(columns, settings)
    made = read_json(split / PROTOCOL)
    protocol = {
        "split": f"{made['method']} {':'.join(f'{ratio:g}' for ratio in made['ratios'])}, seed {made['seed']}",
        "candidates": "all items",
        "mask": settings.mask,
        "metric_profile": settings.metric_profile,
        "mean_over": "users with a test item",
        "ties": "by item index",
        "users": len(users),
        "items": data.n_items,
    }
    write_json({"protocol": protocol, "models": numbers}, out / "metrics.json")
    write_json({"protocol": protocol, "comparisons": comparisons}, out / "significance.json")
    write_parquet(_user_table(columns, users, test, activity, vocabulary), out / "users.parquet")
    _plot(numbers, groups, comparisons, settings, out / "plots")
    return {
        "models": len(folders),
        "users_evaluated": len(users),
        "users_without_test_item": data.n_users - len(users),
        "test_interactions": len(test.items),
        "comparisons": len(comparisons),
    }


def _model_folders(models: Path, settings: EvaluateSettings) -> dict[str, Path]:
    if not models.is_dir():
        raise DataError("no such folder; run the train stage first", path=models)
    folders = {path.name: path for path in sorted(models.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    if not folders:
        raise DataError("holds no model; run the train stage with at least one model", path=models)
    if settings.baseline is not None and settings.baseline not in folders:
        raise ConfigError(f"evaluate.baseline is {settings.baseline!r}; the trained models are {', '.join(folders)}")
    return folders


def _user_items(pairs: np.ndarray, data: GraphData) -> UserItems:
    return UserItems.from_pairs(pairs[0], pairs[1], data.n_users)


def _check_same_train(pairs: np.ndarray, data: GraphData, split: Path, graph: Path) -> None:
    """Refuse a graph with edges from another split: it could hold this split's test interactions."""
    wanted = np.unique(pairs[0] * data.n_items + pairs[1])
    found = np.unique(data.train_users.numpy() * data.n_items + data.train_items.numpy())
    if not np.array_equal(wanted, found):
        raise DataError(
            f"its interactions are not those of {split / 'train.parquet'}; rerun the graph stage", path=graph
        )


def _compare(columns: dict[str, dict[str, np.ndarray]], settings: EvaluateSettings) -> list[dict[str, Any]]:
    """Paired tests: every model with the baseline, or every pair, the better one (by the first metric) first."""
    lead = f"{settings.metrics[0]}@{max(settings.topk)}"
    ranked = sorted(columns, key=lambda model: (-columns[model][lead].mean(), model))
    if settings.baseline is None:
        pairs = list(combinations(ranked, 2))
    else:
        pairs = [(model, settings.baseline) for model in ranked if model != settings.baseline]
    rows: list[dict[str, Any]] = []
    for first, second in pairs:
        tests = paired_tests(
            columns[first],
            columns[second],
            bootstrap=settings.bootstrap,
            confidence=settings.confidence,
            seed=settings.seed,
        )
        rows.extend({"models": [first, second], **row} for row in tests)
    return rows


def _user_table(
    columns: dict[str, dict[str, np.ndarray]],
    users: np.ndarray,
    test: UserItems,
    activity: Groups,
    vocabulary: Vocabulary,
) -> pa.Table:
    """One row per model and user, models by name, users by index."""
    ids = [vocabulary.users[user] for user in users]
    groups = [activity.names[group] for group in activity.of[users]]
    tables = []
    for model, metrics in columns.items():
        fixed = {
            "model": pa.array([model] * len(users), pa.string()),
            "user_id": pa.array(ids, pa.string()),
            "activity": pa.array(groups, pa.string()),
            "test_items": pa.array(test.counts()[users], pa.int64()),
        }
        tables.append(pa.table({**fixed, **{name: pa.array(values) for name, values in metrics.items()}}))
    return pa.concat_tables(tables)


def _plot(
    numbers: dict[str, dict[str, dict[str, float]]],
    groups: list[dict[str, Any]],
    comparisons: list[dict[str, Any]],
    settings: EvaluateSettings,
    folder: Path,
) -> None:
    k = max(settings.topk)
    lead = f"{settings.metrics[0]}@{k}"
    test = {model: parts["test"] for model, parts in numbers.items()}
    write_csv(
        [{"model": m, "metric": name, "value": value} for m, values in test.items() for name, value in values.items()],
        folder / "metrics.csv",
    )
    long = {
        model: {name: value for name, value in values.items() if name.endswith(f"@{k}")}
        for model, values in test.items()
    }
    plot_metrics(long, folder / "metrics.png", f"Test metrics of the first {k} places")
    write_csv(groups, folder / "groups.csv")
    panels = {
        f"{lead} by user activity": ("user activity", lead),
        f"Recall@{k} by item popularity": ("item popularity", f"Recall@{k}"),
        f"Share of places by item popularity, first {k}": ("item popularity", f"Share@{k}"),
    }
    rows = {
        title: [row for row in groups if (row["kind"], row["metric"]) == wanted] for title, wanted in panels.items()
    }
    plot_groups(rows, folder / "groups.png", "Who is served")
    leading = [row for row in comparisons if row["metric"] == lead]
    if leading:
        kept = [
            {
                "pair": " vs ".join(row["models"]),
                "difference": row["difference"],
                "low": row["low"],
                "high": row["high"],
                "p": row["p_wilcoxon_holm"],
            }
            for row in leading
        ]
        write_csv(kept, folder / "differences.csv")
        title = f"Difference in {lead}, {settings.confidence:.0%} interval, Wilcoxon p (Holm)"
        plot_differences(kept, folder / "differences.png", title)
