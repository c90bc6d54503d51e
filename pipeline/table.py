"""The table at the end of a run: the metrics of every model on the test interactions, and where model and page lie."""

from __future__ import annotations

from kgrec.data.io import read_json, read_parquet
from kgrec.data.schemas import VOCAB
from kgrec.serving.evaluation_file import Evaluation, read_evaluation
from pipeline.layout import METRICS, MODEL, PAGE


def summary() -> str:
    """What a person wants to see after ``dvc repro``.

    :raises DataError: if the evaluate or publish stage has not run
    """
    results = read_evaluation(METRICS.parent)
    published = read_json(MODEL / "config.json")
    lines = [
        *metrics_table(results, str(published["model"])),
        "",
        results.protocol_line(),
        *(
            ["SYNTHETIC data: it shows that everything runs, not how good a model is."]
            if published["synthetic"]
            else []
        ),
        "",
        f"model  {MODEL}   try: kgrec recommend --model {MODEL} --user {_some_user()} -k 10",
        f"page   {PAGE}",
    ]
    return "\n".join(lines)


def metrics_table(results: Evaluation, published: str) -> list[str]:
    """Lines of the table, for the longest list only: best model by the first metric on top, the published one marked."""
    names = list(results.numbers(published))
    longest = max((int(name.split("@")[1]) for name in names if "@" in name), default=0)
    names = [name for name in names if "@" not in name or name.endswith(f"@{longest}")]
    rows = {model: results.numbers(model) for model in results.models}
    order = sorted(rows, key=lambda model: (-rows[model].get(names[0], 0.0), model))
    width = max(len("model"), *(len(model) for model in order)) + 2
    cells = {name: max(len(name), 6) for name in names}
    head = "model".ljust(width) + "  ".join(name.rjust(cells[name]) for name in names)
    lines = [head, "-" * len(head)]
    for model in order:
        label = f"{model} *" if model == published else model
        values = (f"{rows[model][name]:.4f}" if name in rows[model] else "" for name in names)
        cell = "  ".join(value.rjust(cells[name]) for value, name in zip(values, names, strict=True))
        lines.append(label.ljust(width) + cell)
    return lines


def _some_user() -> str:
    """Id of the first user of the published model."""
    vocab = read_parquet(MODEL / "vocab.parquet", VOCAB)
    return next(str(row["id"]) for row in vocab.to_pylist() if row["type"] == "user")
