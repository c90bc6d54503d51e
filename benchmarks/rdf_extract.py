"""How fast a dump becomes a store, in units of plain decompression: ``igzip -dc dump.gz > /dev/null`` in the same run.

    python benchmarks/rdf_extract.py --dump freebase-film-rdf.gz --times 40

makes a dump 40 times as large by repetition with renamed subjects, runs both in turn, prints a table and, as its last
line, ``ratio <our rate over igzip's>``; ``--times 1`` takes the dump as it is.

    python benchmarks/rdf_extract.py --dump freebase-film-rdf.gz --times 40 --seeds 5000000

gathers the facts around that many entities of the dump, one hop and two, and prints time and peak memory.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import re
import resource
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from kgrec.data.io import read_json
from kgrec.kg.build import KGSettings
from kgrec.kg.dumps.blocks import count_lines, open_blocks
from kgrec.kg.filters import refused
from kgrec.kg.neighbourhood import gather_neighbourhood
from kgrec.kg.sql import count
from kgrec.kg.store import ExtractSettings, build_store, open_store

_URI = rb"<http://rdf\.freebase\.com/ns/[mg]\."
#: an id, and one as Freebase has them: its base-32 digits, short enough for a copy's letters in front
_ID = re.compile(rb"(" + _URI + rb")(\w+)>")
_USUAL = re.compile(rb"[01][0-9b-df-hj-np-tv-z_]{0,8}")
#: the place in front of a line's subject where a copy's letters go
_SUBJECT = re.compile(rb"(?m)(?<=^" + _URI + rb")(?=\w+>)")
_DIGITS = b"0123456789bcdfghjklmnpqrstvwxyz_"
#: no id of Freebase starts with one of these
_LETTERS = "bcdfghjklmnpqrstvwxyz"


def repeat_dump(dump: Path, times: int, out: Path) -> None:
    """Write the lines of ``dump`` ``times`` times to ``out`` (gzip, level 6): each copy has subjects of its own.

    Copy 0 keeps the ids; in copy k ``m.0dyb1`` becomes ``m.b0dyb1``, ``m.c0dyb1`` … Objects stay, so every copy points to
    the same entities. Ids unlike Freebase's own (the sample's mediators, ``m.0z`` with ten hexadecimal digits) get one of the
    usual seven characters first.
    """
    given: dict[bytes, bytes] = {}
    taken: set[bytes] = set()

    def usual(match: re.Match[bytes]) -> bytes:
        old = match[2]
        if _USUAL.fullmatch(old):
            return match[0]
        salt = 0
        while old not in given:
            number = int.from_bytes(hashlib.blake2b(old, digest_size=4, salt=bytes([salt])).digest(), "big")
            new = b"2" + bytes(_DIGITS[number >> shift & 31] for shift in range(0, 30, 5))
            if new not in taken:
                taken.add(new)
                given[old] = new
            salt += 1
        return match[1] + given[old] + b">"

    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        text = Path(folder) / "usual.nt"
        with text.open("wb") as file:
            for block in open_blocks(dump):
                file.write(_ID.sub(usual, block.data.tobytes()))
        with out.open("wb") as file:
            packer = zlib.compressobj(6, zlib.DEFLATED, 31)
            for prefix in copies(times):
                for block in open_blocks(text):
                    file.write(packer.compress(prefix.join(_SUBJECT.split(block.data.tobytes()))))
                    block.release()
            file.write(packer.flush())


def copies(times: int) -> Iterator[bytes]:
    """What stands before the ids of each copy: nothing, then one letter each, or two where one is not enough."""
    yield b""
    wide = times - 1 > len(_LETTERS)
    for copy in range(times - 1):
        high, low = divmod(copy, len(_LETTERS))
        yield ((_LETTERS[high] if wide else "") + _LETTERS[low]).encode()


#: programs that decompress to nowhere, best first
PROGRAMS = (("igzip", "-dc"), ("rapidgzip", "-dc"), ("pigz", "-dc"), ("gzip", "-dc"))


@dataclass
class Run:
    """What one run cost."""

    seconds: float
    #: of all threads, user and system
    cpu_seconds: float
    #: largest resident set of the process so far, bytes
    peak: int
    rows: int = 0
    seeds: int = 0


def decompress(program: Sequence[str], dump: Path) -> Run:
    """``program dump > /dev/null``."""
    return _measure(lambda: subprocess.run([*program, str(dump)], stdout=subprocess.DEVNULL, check=True))


def read_blocks(dump: Path) -> Run:
    """The blocks of ``kgrec.kg.dumps`` alone, thrown away."""

    def read() -> None:
        for block in open_blocks(dump):
            block.lines = 0
            block.release()

    return _measure(read)


def extract(dump: Path, out: Path) -> Run:
    """The whole way from the dump to the store."""
    counts: dict[str, Any] = {}
    run = _measure(lambda: counts.update(build_store([dump], out, ExtractSettings())))
    run.rows = counts["facts"]
    return run


def _measure(work: Callable[[], Any]) -> Run:
    before, start = _cpu_seconds(), time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return Run(seconds, _cpu_seconds() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _cpu_seconds() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def compare(dump: Path, rounds: int, folder: Path, console: Console) -> float:
    """Run decompression, reading and extraction in turn, and print what they cost; returns our rate over decompression's."""
    program = next(((name, *options) for name, *options in PROGRAMS if shutil.which(name)), None)
    if program is None:
        raise SystemExit(f"none of {', '.join(name for name, *_ in PROGRAMS)} is installed; install isa-l's igzip")
    if program[0] != "igzip":
        console.print(f"igzip is not installed: compared with {program[0]}, which is slower")
    text = lines = 0
    for block in open_blocks(dump):
        text, lines = text + block.data.size, lines + count_lines(block.data)
        block.release()
    console.print(f"{dump.name}: {dump.stat().st_size / 1e6:,.0f} MB, {text / 1e6:,.0f} MB of text, {lines:,} lines")
    runs: dict[str, list[Run]] = {" ".join(program) + " > /dev/null": [], "blocks": [], "store": []}
    plain, blocks, store = runs.values()
    # a process of its own: its memory is that of the extraction
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(_warm_up, folder).result()
        for _ in range(rounds):
            plain.append(decompress(program, dump))
            blocks.append(read_blocks(dump))
            store.append(process.submit(extract, dump, folder / "store").result())
    table = Table(
        "",
        "MB/s of text",
        "lines/s",
        "seconds",
        "CPU seconds",
        "peak MB",
        title=f"median of {rounds} (fastest–slowest)",
    )
    for name, costs in runs.items():
        seconds = median(run.seconds for run in costs)
        table.add_row(
            name,
            f"{text / 1e6 / seconds:,.0f}",
            f"{lines / seconds:,.0f}",
            f"{seconds:.2f} ({min(run.seconds for run in costs):.2f}–{max(run.seconds for run in costs):.2f})",
            f"{median(run.cpu_seconds for run in costs):.2f}",
            f"{max(run.peak for run in costs) / 1e6:,.0f}" if name == "store" else "",
        )
    console.print(table)
    size = sum(path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file())
    console.print(f"store: {size / 1e6:,.0f} MB")
    return min(run.seconds for run in plain) / min(run.seconds for run in store)


def _warm_up(folder: Path) -> None:
    """Compile the kernel, once for all rounds."""
    (folder / "warm.nt").write_text("<http://e/s>\t<http://e/p>\t<http://e/o>\t.\n")
    build_store([folder / "warm.nt"], folder / "warm", ExtractSettings())


def grow(dump: Path, seeds: int, folder: Path, console: Console) -> None:
    """Extract ``dump``, then the neighbourhood of ``seeds`` entities, each in a process of its own; print what they cost."""
    run = _fresh(extract, dump, folder / "store")
    console.print(f"store: {run.rows:,} facts, {run.seconds:.1f} s, peak {run.peak / 1e6:,.0f} MB")
    for hops in (1, 2):
        run = _fresh(gather, folder / "store", seeds, hops)
        console.print(
            f"{run.seeds:,} seeds, hops {hops}: {run.rows:,} facts, {run.seconds:.1f} s, peak {run.peak / 1e6:,.0f} MB"
        )


def _fresh(work: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def gather(store: Path, seeds: int, hops: int, memory_gb: float = 1.0) -> Run:
    """Facts around ``seeds`` subjects, spread over all of the store: what the kg stage begins with."""
    with tempfile.TemporaryDirectory(dir=store.parent) as folder, duckdb.connect(f"{folder}/near.duckdb") as connection:
        connection.execute("SET memory_limit = ?", [f"{memory_gb}GB"])
        connection.execute("SET temp_directory = ?", [f"{folder}/spill"])
        connection.execute("SET enable_progress_bar = false")
        open_store(connection, store)
        settings = KGSettings(hops=hops)
        refused_predicates = refused(read_json(store / "manifest.json")["facts_by_predicate"], ("*",), settings.denied)
        connection.register("refused", refused_predicates)
        connection.execute("CREATE TABLE refused_predicates AS SELECT relation AS p FROM refused ORDER BY p")
        connection.execute(
            "CREATE TABLE seeds AS SELECT s AS node FROM (SELECT DISTINCT s FROM facts) ORDER BY hash(s), s LIMIT ?",
            [seeds],
        )
        counts: dict[str, Any] = {}
        run = _measure(
            lambda: counts.update(
                gather_neighbourhood(connection, hops, settings.hub_degree, settings.mediator_named_share)
            )
        )
        run.seeds = count(connection, "seeds")
    run.rows = counts["facts_near"] + counts["mediator_facts"]
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", type=Path, required=True, help="an RDF dump, .gz")
    parser.add_argument("--times", type=int, default=1, help="how many times as large to make it (1: take it as it is)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--seeds", type=int, help="gather the facts around this many entities instead of comparing rates"
    )
    parser.add_argument("--keep", type=Path, help="where to leave the dump that was made")
    arguments = parser.parse_args()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dump = arguments.dump
        if arguments.times > 1:
            dump = arguments.keep or folder / f"{arguments.times}-{arguments.dump.name}"
            repeat_dump(arguments.dump, arguments.times, dump)
        if arguments.seeds:
            grow(dump, arguments.seeds, folder, console)
        else:
            console.print(f"ratio {compare(dump, arguments.rounds, folder, console):.3f}")


if __name__ == "__main__":
    main()
