"""A model card says in one page what a model is, how good it is under which protocol, what it saw, and how to use it.

Its YAML front matter follows the metadata that model hubs read (``license``, ``tags``, ``datasets``, ``metrics``,
``model-index``), so the folder can be uploaded as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from kgrec.serving.evaluation_file import describe, label, metric_order

#: what the kinds of model folder do, in a sentence
_KINDS = {
    "vectors": "A score is the inner product of a user vector and an item vector.",
    "item_similarity": "A score is the sum of item-item weights over the user's training history.",
    "popularity": "A score is the popularity of the item in training, the same for every user.",
}

#: what of the protocol stands beside each single number; all of it stands with the data set
_SHORT_PROTOCOL = ("split", "candidates", "mask", "metric_profile")


def write_card(
    path: Path,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    origins: Mapping[str, Any],
    counts: Mapping[str, int],
    coverage: Mapping[str, float],
    license: str | None,
    language: Sequence[str],
) -> None:
    """Write the model card ``path``.

    :param config: ``config.json`` of the model folder
    :param metrics: its ``metrics.json``
    :param origins: where the data is from, by name, as ``lineage.json`` holds it
    :param counts: users, items, entities, relations, interactions
    :param coverage: share of items per modality
    :param license: licence of the weights, or None for the rule of ``PublishSettings.license``
    """
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["label"] = label
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("\n", " ")
    template = environment.from_string(files("kgrec.serving").joinpath("model_card.md.j2").read_text(encoding="utf-8"))
    head = front_matter(config, metrics, license, language)
    test, baselines = dict(metrics.get("test", {})), dict(metrics.get("baselines", {}))
    names = sorted({name for row in [test, *baselines.values()] for name in row}, key=metric_order)
    table = [(config["model"], test), *sorted(baselines.items())]
    best = {name: max(row[name] for _, row in table if name in row) for name in names}
    body = template.render(
        config=config, table=table, metric_names=names, best=best, valid=metrics.get("valid", {}),
        protocol=describe(metrics["protocol"]) or "not recorded", counts=counts, coverage=coverage,
        sources=_sources(origins), kind=_KINDS[config["kind"]], license=head["license"],
    )  # fmt: skip
    text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120)
    path.write_text(f"---\n{text}---\n\n{body}", encoding="utf-8")


def front_matter(
    config: Mapping[str, Any], metrics: Mapping[str, Any], license: str | None, language: Sequence[str]
) -> dict[str, Any]:
    """The card's metadata as model hubs read it."""
    data = config["recipe"] or "own-data"
    license = license or ("apache-2.0" if config["synthetic"] else "other")
    protocol = {key: metrics["protocol"][key] for key in _SHORT_PROTOCOL if key in metrics["protocol"]}
    ranking = [name for name in metrics.get("test", {}) if "@" in name]
    head: dict[str, Any] = {
        "library_name": "kgrec",
        "license": license,
        **({"license_name": "licences-of-the-data", "license_link": "lineage.json"} if license == "other" else {}),
        "language": list(language),
        "tags": [
            "recommender-system", "knowledge-graph", "multimodal", config["model"].replace("_", "-"),
            *(["synthetic-data"] if config["synthetic"] else []),
        ],
        "datasets": [data],
        "metrics": sorted({name.partition("@")[0].lower() for name in ranking}),
    }  # fmt: skip
    if metrics.get("test"):
        head["model-index"] = [
            {
                "name": config["name"],
                "results": [
                    {
                        "task": {"type": "recommendation", "name": "Top-N recommendation"},
                        "dataset": {
                            "name": f"{data} (synthetic data)" if config["synthetic"] else data,
                            "type": data,
                            "split": "test",
                            "args": dict(metrics["protocol"]),
                        },
                        "metrics": [
                            {
                                "type": name.partition("@")[0].lower(),
                                "name": f"{name} ({describe(protocol)})" if protocol else name,
                                "value": float(value),
                                "verified": False,
                            }
                            for name, value in metrics["test"].items()
                        ],
                    }
                ],
            }
        ]
    return head


def _sources(origins: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per source file of the origins: role, where from, licence, may it be redistributed, checksum."""
    rows = []
    for origin in origins.values():
        for source in origin.get("sources", []) if isinstance(origin, Mapping) else []:
            redistribute = source.get("redistribute")
            rows.append(
                {
                    "role": str(source.get("role", "")),
                    "from": str(source.get("origin") or source.get("name") or ""),
                    "licence": str(source.get("licence") or "not stated"),
                    "redistribute": {True: "yes", False: "no"}.get(redistribute, "not stated"),
                    "sha256": str(source.get("sha256") or "")[:12],
                }
            )
    return rows
