"""The command line is tested on the same small run as serving."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_path = Path(__file__).parents[1] / "serving" / "conftest.py"
_spec = importlib.util.spec_from_file_location("serving_conftest", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)

world = _module.world
published = _module.published
