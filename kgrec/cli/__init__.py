"""The command line ``kgrec``: ask a published model, look into it, look at the machine, train and evaluate by hand."""

from kgrec.cli.app import app


def main() -> None:
    """Entry point of the command ``kgrec``."""
    app(prog_name="kgrec")
