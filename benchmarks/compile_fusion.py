"""What ``torch.compile`` makes of Multi-KG4Rec's fusion transformer: ``python benchmarks/compile_fusion.py``.

Forward and backward of all items' sequences at the size of the paper's MovieLens-1M, eager and compiled, in float32 and in
bfloat16; random vectors. It needs a C++ compiler. The last line is ``ratio <eager seconds over compiled>`` of bfloat16.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from kgrec.models.blocks.cross_modal import CrossModalTransformer
from kgrec.models.multi_kg4rec import MultiKG4RecSettings

STREAMS = ("image", "text")


def step(fuse: Callable[..., dict[str, Tensor]], x: dict[str, Tensor], padding: Tensor, half: bool) -> float:
    """Seconds of one forward and backward."""
    began = time.perf_counter()
    with torch.autocast(padding.device.type, torch.bfloat16, enabled=half):
        fused = fuse(x, padding, only_first=True)
    torch.stack([y.float().square().sum() for y in fused.values()]).sum().backward()
    if padding.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=3588)
    parser.add_argument("--length", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    settings = MultiKG4RecSettings()
    transformer = CrossModalTransformer(
        STREAMS, {"image": ["text"], "text": ["image"]}, width=settings.embedding_size, blocks=settings.fusion_blocks,
        heads=settings.fusion_heads, hidden=settings.fusion_hidden, dropout=settings.fusion_dropout, norm=settings.norm,
    ).to(given.device)  # fmt: skip
    shape = given.items, given.length, settings.embedding_size
    x = {stream: torch.randn(shape, device=given.device, requires_grad=True) for stream in STREAMS}
    padding = torch.zeros(shape[:2], dtype=torch.bool, device=given.device)
    print(
        f"{given.items:,} sequences of {given.length}, {len(STREAMS)} streams, {settings.fusion_blocks} blocks, {given.device}"
    )
    best: dict[str, float] = {}
    for half in (False, True):
        for name, fuse in (("eager", transformer), ("compiled", torch.compile(transformer))):
            first = step(fuse, x, padding, half)
            best[name] = min(step(fuse, x, padding, half) for _ in range(given.steps))
            print(
                f"{'bfloat16' if half else 'float32':9}{name:9} {best[name]:8.3f} s, the first {first:.1f} s",
                flush=True,
            )
    print(f"ratio {best['eager'] / best['compiled']:.2f}")


if __name__ == "__main__":
    main()
