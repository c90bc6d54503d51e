"""The hash behind every random number: splitmix64 of a counter, the same bits as on the CPU."""

# mypy: allow-incomplete-defs
from __future__ import annotations

import triton
import triton.language as tl


def halves(seed: int) -> tuple[int, int]:
    """The low and the high 32 bits of a seed, as signed numbers: a kernel's integer argument is then always of one type."""
    return tuple(((seed >> shift & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000 for shift in (0, 32))  # type: ignore[return-value]


@triton.jit
def whole(low, high):
    """The seed of two halves."""
    low = low.to(tl.uint32, bitcast=True).to(tl.uint64)
    return (high.to(tl.uint32, bitcast=True).to(tl.uint64) << 32) | low


@triton.jit
def splitmix64(seed, position):
    """64 well-mixed bits of two uint64."""
    z = seed + position * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit
def sixteen_bits(row_key, column):
    """16 bits for a column of a row, from uint32 keys."""
    z = row_key + column * 0x9E3779B9
    z = (z ^ (z >> 16)) * 0x7FEB352D
    z = (z ^ (z >> 15)) * 0x846CA68B
    return (z ^ (z >> 16)) >> 16
