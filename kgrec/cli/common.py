"""What several commands do: show logs, read their section of a parameters file, answer in JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer


def log_to_stderr() -> None:
    """Show what long work reports, on standard error: standard output is for the answer."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def section(cls: Any, path: Path, name: str) -> Any:
    """Settings from the section ``name`` of a YAML file."""
    import yaml

    from kgrec.config import parse_settings
    from kgrec.errors import ConfigError

    if not path.exists():
        raise ConfigError(
            f"{path}: no such file; give one with --params, or write one with `python -m pipeline use demo`"
        )
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(sections, dict) or not isinstance(sections.get(name) or {}, dict):
        raise ConfigError(f"{path}: should hold sections of keys and values")
    return parse_settings(cls, sections.get(name) or {}, place=f"{path}: {name}")


def echo_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
