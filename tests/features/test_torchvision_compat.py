from __future__ import annotations

import subprocess
import sys


def test_open_clip_and_transformers_import_in_a_fresh_process() -> None:
    code = (
        "from kgrec.features.torchvision_compat import prepare_torchvision as p; own = p(); assert p() is own;"
        "import torchvision, open_clip; from transformers import CLIPModel;"
        "from torchvision.extension import _has_ops; assert _has_ops() is own"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
