"""``python -m kgrec`` is the command line ``kgrec``."""

from kgrec.cli import main

main()
