"""``kgrec features``: what features there are, what they are good for, how they drift; and making them by hand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec.cli.common import echo_json, log_to_stderr, section
from kgrec.cli.folders import stage_folder
from kgrec.errors import ConfigError

if TYPE_CHECKING:
    from kgrec.features.encode import FeaturesSettings

app = typer.Typer(no_args_is_help=True, help="Look at features, search them, watch them drift, make them by hand.")

Features = Annotated[
    Path | None, typer.Option(help="folder of the features stage; else artifacts/*_features here", show_default=False)
]
Media = Annotated[
    Path | None, typer.Option(help="folder of the media stage; else artifacts/*_media here", show_default=False)
]
Items = Annotated[
    Path | None, typer.Option(help="items.parquet; else the interactions stage's here", show_default=False)
]
Params = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with a section `features`; else params.yaml here, else the defaults", show_default=False
    ),
]
Cache = Annotated[Path, typer.Option(help="folder of the feature cache")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>")]

_CACHE = Path(".kgrec/cache/features")


@app.command()
def status(
    item: Annotated[
        str | None, typer.Option(help="one item, by id, title or key: say why it has no vector", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="compare encoders by name, without loading weights")] = False,
    features: Features = None,
    media: Media = None,
    items: Items = None,
    params: Params = None,
    cache: Cache = _CACHE,
    as_json: AsJson = False,
) -> None:
    """Say what is present, stale, and missing and why, per modality; what a run of the stage would encode."""
    from kgrec.features.status import feature_status, item_status, item_tries

    features, media, settings = features or stage_folder("features"), media or stage_folder("media"), _settings(params)
    if item is not None:
        from kgrec.features.search import find_item

        key = find_item(item, items or _beside(features, "interactions", "items.parquet"))
        rows, tries = item_status(key, media, features, settings, quick=quick), item_tries(key, media)
        if as_json:
            echo_json({"key": key, "modalities": [asdict(one) for one in rows], "tries": tries})
            return
        from kgrec.cli.show_features import show_item

        show_item(key, rows, tries)
        return
    found = feature_status(media, features, settings, cache, quick=quick)
    if as_json:
        echo_json([asdict(one) | {"settled": one.settled} for one in found])
        return
    from kgrec.cli.show_features import show_status

    show_status(found)


@app.command()
def search(
    query: Annotated[str | None, typer.Argument(help="words", show_default=False)] = None,
    like: Annotated[str | None, typer.Option(help="an item by id, title or key", show_default=False)] = None,
    image: Annotated[Path | None, typer.Option(help="a picture file", show_default=False)] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="how many to show")] = 12,
    modality: Annotated[
        str | None, typer.Option(help="whose vectors to compare; else pictures where that can be, or texts")
    ] = None,
    entities: Annotated[bool, typer.Option("--entities", help="also entities that are no items")] = False,
    html: Annotated[
        Path | None, typer.Option(help="also write one HTML page with pictures", show_default=False)
    ] = None,
    features: Features = None,
    media: Media = None,
    items: Items = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show the items nearest to words, to an item, or to a picture; pictures in a terminal with colours."""
    from kgrec.features.search import search

    features = features or stage_folder("features")
    items = items or _beside(features, "interactions", "items.parquet")
    names = _beside(features, "kg", "entities.parquet")
    found = search(
        features, query=query, like=like, image=image, modality=modality, k=k, entities=entities, items=items,
        names=names, device=device,
    )  # fmt: skip
    if as_json and html is None:
        echo_json(asdict(found))
        return
    from kgrec.cli.pictures import show_found
    from kgrec.cli.show import console
    from kgrec.features.pages import cards, write_page

    shown, asked = cards(found, media or stage_folder("media"))
    if html is not None:
        write_page(found, shown, asked, html)
    if as_json:
        echo_json(asdict(found))
    else:
        show_found(console(), found, shown, asked)
        if html is not None:
            typer.echo(f"wrote {html}")


@app.command()
def drift(
    baseline: Annotated[
        Path | None,
        typer.Option(help="what pin wrote; else pipeline/baselines/<recipe>.parquet here", show_default=False),
    ] = None,
    before: Annotated[
        Path | None, typer.Option(help="compare with this folder of features instead", show_default=False)
    ] = None,
    features: Features = None,
    out: Annotated[
        Path | None, typer.Option(help="folder to write metrics.json and plots into", show_default=False)
    ] = None,
    params: Params = None,
    check: Annotated[bool, typer.Option("--check", help="exit code 1 if a limit is passed")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how far vectors moved since a baseline was pinned, or against another folder of features."""
    from kgrec.features.drift import drift_warnings, measure_drift, pin_baseline

    if baseline and before:
        raise ConfigError("give --baseline or --before, not both")
    features, settings = features or stage_folder("features"), _settings(params).drift
    baseline = baseline if baseline or before else _baseline(params)
    if baseline is not None and not baseline.exists():
        raise ConfigError(f"{baseline}: no such baseline; `kgrec features pin` writes one")
    with TemporaryDirectory(prefix="kgrec.drift.") as folder:
        if before is not None:
            baseline = Path(folder) / "before.parquet"
            pin_baseline(before / "vectors", baseline, settings)
        metrics = measure_drift(features / "vectors", baseline, out or Path(folder), settings, warn=False)
    warnings = drift_warnings(metrics, settings)
    if as_json:
        echo_json({"modalities": metrics, "warnings": warnings})
    else:
        from kgrec.cli.show_features import show_drift

        show_drift(metrics, warnings, before or baseline)
    if check and warnings:
        raise typer.Exit(1)


@app.command()
def pin(
    out: Annotated[
        Path | None,
        typer.Option(help="file to write; else pipeline/baselines/<recipe>.parquet here", show_default=False),
    ] = None,
    features: Features = None,
    params: Params = None,
) -> None:
    """Make the present vectors the baseline of later drift; commit the file."""
    from kgrec.features.drift import pin_baseline

    out = out or _baseline(params)
    pin_baseline((features or stage_folder("features")) / "vectors", out, _settings(params).drift)
    typer.echo(f"wrote {out} ({out.stat().st_size / 1000:,.0f} kB)")


@app.command()
def prune(features: Features = None, cache: Cache = _CACHE, as_json: AsJson = False) -> None:
    """Remove from the cache what the present features do not use; not while the stage runs."""
    from kgrec.features.cache import prune_cache

    counts = prune_cache(cache, features or stage_folder("features"))
    if as_json:
        echo_json(counts)
    else:
        typer.echo(
            f"kept {counts['kept']:,} entries, removed {counts['removed']:,}, freed {counts['freed'] / 1e6:,.1f} MB"
        )


@app.command()
def encode(
    out: Annotated[Path, typer.Option(help="folder to write vectors/<modality>.parquet into", show_default=False)],
    media: Media = None,
    imports: Annotated[
        Path | None,
        typer.Option(help="folder of ready-made feature files, for the section's imports", show_default=False),
    ] = None,
    params: Params = None,
    cache: Cache = _CACHE,
    device: Device = "auto",
) -> None:
    """Encode a folder of media by hand, as the features stage does."""
    log_to_stderr()
    from kgrec.features.encode import encode_features

    echo_json(encode_features(media or stage_folder("media"), out, _settings(params), cache, device, imports=imports))


@app.command("train-clip")
def train_clip(
    out: Annotated[Path, typer.Option(help="folder to write; `open_clip:<folder>` names it", show_default=False)],
    images: Annotated[
        Path | None, typer.Option(help="folder of picture shards; else the media stage's here", show_default=False)
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="texts.parquet; else the media stage's here", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the pairs", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="of weights and order", show_default=False)] = None,
    image_size: Annotated[int | None, typer.Option(min=16, help="side in pixels", show_default=False)] = None,
    device: Device = "auto",
) -> None:
    """Train a small CLIP on the pictures and texts of a catalogue; it then encodes both in one space."""
    log_to_stderr()
    from kgrec.config import parse_settings
    from kgrec.features.train_clip import TrainClipSettings, train_clip

    given = {"epochs": epochs, "seed": seed, "image_size": image_size, "device": device}
    values = {name: value for name, value in given.items() if value is not None}
    settings = parse_settings(TrainClipSettings, values, place="train-clip")
    images = images or stage_folder("media") / "images"
    echo_json(train_clip(images, texts or stage_folder("media") / "texts.parquet", out, settings))


def _settings(params: Path | None) -> FeaturesSettings:
    from kgrec.features.encode import FeaturesSettings

    here = Path("params.yaml")
    if params is None and not here.exists():
        return FeaturesSettings()
    return section(FeaturesSettings, params or here, "features")


def _baseline(params: Path | None) -> Path:
    """The baseline that a parameters file names, else where that of its recipe lies."""
    import yaml

    if named := getattr(_settings(params), "baseline", None):
        return Path(named)
    path = params or Path("params.yaml")
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))["fetch"]["recipe"]
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise ConfigError(f"{path} names no recipe; give the baseline's file, or run where a pipeline ran") from None
    return Path("pipeline/baselines") / f"{recipe}.parquet"


def _beside(features: Path, word: str, name: str) -> Path | None:
    """A file of another stage of the run the features are of, if there is one."""
    found = sorted(features.absolute().parent.glob(f"*_{word}/{name}"))
    return found[0] if len(found) == 1 else None
