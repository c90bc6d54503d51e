"""Stage ``extract``: read the RDF dumps once into a compact store."""

from __future__ import annotations

from kgrec.kg.store import build_store, dump_files
from pipeline.entry import PathOption, run
from pipeline.layout import PARAMS
from pipeline.params import load_params
from pipeline.report import write_report


def main(kg: PathOption, work: PathOption, out: PathOption, params: PathOption = PARAMS) -> None:
    """Extract facts, types, names and keys."""
    settings = load_params(params).extract
    write_report("extract", out, build_store([*dump_files(kg), *settings.dumps], out / "store", settings, work))


if __name__ == "__main__":
    run(main)
