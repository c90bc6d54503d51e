import json
from pathlib import Path

from typer.testing import CliRunner

from kgrec.cli import app


def test_a_dump_is_extracted(tmp_path: Path) -> None:
    dump = tmp_path / "dump.nt"
    dump.write_text("<http://a> <http://p> <http://b> .\nnonsense\n")
    params = tmp_path / "params.yaml"
    params.write_text("extract: {max_malformed: 0.5}\n")
    result = CliRunner().invoke(app, ["extract", str(dump), "--out", str(tmp_path / "store"), "--params", str(params)])
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert (counts["facts"], counts["malformed"]) == (1, 1)
    assert (tmp_path / "store" / "ledger.parquet").exists()


def test_too_much_nonsense_is_an_error(tmp_path: Path) -> None:
    dump = tmp_path / "dump.nt"
    dump.write_text("nonsense\n")
    result = CliRunner().invoke(app, ["extract", str(dump), "--out", str(tmp_path / "store")])
    assert result.exit_code == 1
    assert "dump.nt, line 1: has no subject" in result.stderr
    assert not (tmp_path / "store").exists()
