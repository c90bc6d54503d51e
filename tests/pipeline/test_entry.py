import sys

import pytest

from kgrec.errors import DataError
from pipeline.entry import PathOption, run


def test_our_errors_are_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def main(out: PathOption) -> None:
        raise DataError("holds no rows", path=out, line=3)

    monkeypatch.setattr(sys, "argv", ["stage", "--out", "x.dat"])
    with pytest.raises(SystemExit) as exit_:
        run(main)
    assert exit_.value.code == 1
    captured = capsys.readouterr()
    assert captured.err == "error: x.dat, line 3: holds no rows\n"
    assert captured.out == ""


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(ZeroDivisionError):
        run(main)
