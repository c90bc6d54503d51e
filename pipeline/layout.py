"""The layout: names, numbers and paths of all stages and of what they write.

A stage is one word. ``artifacts/<number>_<word>/`` holds its outputs, kept by DVC, and its ``report.json``, kept by
git. Numbers follow the data: a stage reads only from folders with a lower number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ARTIFACTS = Path("artifacts")
PARAMS = Path("params.yaml")
RECIPES = Path(__file__).resolve().parent / "recipes"
#: where what survives a rerun lives: fetched responses, encoder outputs, resumable training
WORK = Path(".kgrec")

#: folders of the raw files; each always exists, and may be empty
ROLES = ("ratings", "links", "kg", "posters", "texts", "audio", "video", "features")


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline."""

    number: int
    word: str
    #: names of its outputs inside its folder
    outputs: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """``artifacts/08_split``"""
        return ARTIFACTS / f"{self.number:02d}_{self.word}"

    @property
    def report(self) -> Path:
        """``artifacts/08_split/report.json``"""
        return self.folder / "report.json"

    def path(self, output: str) -> Path:
        """Path of one of its outputs. :raises KeyError: if it has no such output"""
        if output not in self.outputs:
            raise KeyError(f"stage {self.word} has no output {output!r}; it has {', '.join(self.outputs)}")
        return self.folder / output


_OUTPUTS: dict[str, tuple[str, ...]] = {
    "fetch": (*(f"raw/{role}" for role in ROLES), "sources.json"),
    "interactions": ("interactions.parquet", "items.parquet", "users.parquet", "ledger.parquet"),
    "extract": ("store",),
    "link": (
        "links.parquet", "candidates.parquet", "unlinked.parquet", "audit.parquet", "audit.json", "metrics.json", "plots",
    ),
    "kg": ("triples.parquet", "entities.parquet", "relations.parquet", "keys.parquet", "quality"),
    "media": (
        "images", "audio", "video", "texts.parquet", "ledger.parquet", "tries.parquet", "shared.parquet",
    ),
    "features": ("vectors", "tokens", "metrics.json", "plots"),
    "split": ("train.parquet", "valid.parquet", "test.parquet", "protocol.json"),
    "graph": ("collaborative.dgl", "modalities", "vocab.parquet", "sequences.parquet"),
    "train": ("models", "live"),
    "evaluate": ("metrics.json", "significance.json", "users.parquet", "plots"),
    "publish": ("model",),
    "report": ("report.html",),
}  # fmt: skip

#: word -> stage, in the order of the data
STAGES = {word: Stage(number, word, outputs) for number, (word, outputs) in enumerate(_OUTPUTS.items(), start=1)}
MODEL = STAGES["publish"].path("model")
METRICS = STAGES["evaluate"].path("metrics.json")
PAGE = STAGES["report"].path("report.html")
