"""Vector instructions for numba: 64 bytes of text compared at once, the answer as the bits of one integer.

``numba`` does not vectorise a search for a byte; these three-line pieces of LLVM IR do, for any CPU (AVX2 and AVX-512 included).
An address is a ``uint64``; the caller sees to it that the 64 (or 8) bytes from there on may be read.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_BIT, _BYTE, _INT, _WORD = (ir.IntType(width) for width in (1, 8, 32, 64))
_VECTOR = ir.VectorType(_BYTE, 64)
_NOTHING = ir.Constant(_VECTOR, ir.Undefined)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


@intrinsic
def match64(typing: Any, address: Any, byte: Any) -> Any:
    """Bit i is set where byte i from ``address`` on equals ``byte``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = builder.insert_element(_NOTHING, args[1], ir.Constant(_INT, 0))
        every = builder.shuffle_vector(first, _NOTHING, ir.Constant(ir.VectorType(_INT, 64), [0] * 64))
        return builder.bitcast(builder.icmp_unsigned("==", _load(builder, args[0], _VECTOR), every), _WORD)

    return types.uint64(types.uint64, types.uint8), codegen


@intrinsic
def high64(typing: Any, address: Any) -> Any:
    """Bit i is set where byte i from ``address`` on is not ASCII."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(_VECTOR, [0] * 64)
        return builder.bitcast(builder.icmp_signed("<", _load(builder, args[0], _VECTOR), zero), _WORD)

    return types.uint64(types.uint64), codegen


@intrinsic
def special64(typing: Any, address: Any) -> Any:
    """Whether one of the 64 bytes from ``address`` on is not ASCII, a backslash or a carriage return; as a mask of bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        text = _load(builder, args[0], _VECTOR)

        def equals(byte: int) -> Any:
            return builder.icmp_unsigned("==", text, ir.Constant(_VECTOR, [byte] * 64))

        high = builder.icmp_signed("<", text, ir.Constant(_VECTOR, [0] * 64))
        return builder.bitcast(builder.or_(high, builder.or_(equals(92), equals(13))), _WORD)

    return types.uint64(types.uint64), codegen


@intrinsic
def unequal64(typing: Any, left: Any, right: Any) -> Any:
    """Bit i is set where byte i from ``left`` on is not byte i from ``right`` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = (_load(builder, address, _VECTOR) for address in args)
        return builder.bitcast(builder.icmp_unsigned("!=", a, b), _WORD)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def word64(typing: Any, address: Any) -> Any:
    """Bit i is set where byte i from ``address`` on is one of ``0-9a-z_``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        text = _load(builder, args[0], _VECTOR)

        def among(first: str, count: int) -> Any:
            distance = builder.sub(text, ir.Constant(_VECTOR, [ord(first)] * 64))
            return builder.icmp_unsigned("<", distance, ir.Constant(_VECTOR, [count] * 64))

        found = builder.or_(builder.or_(among("0", 10), among("a", 26)), among("_", 1))
        return builder.bitcast(found, _WORD)

    return types.uint64(types.uint64), codegen


@intrinsic
def copy64(typing: Any, target: Any, source: Any) -> Any:
    """Copy 64 bytes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(_load(builder, args[1], _VECTOR), builder.inttoptr(args[0], _VECTOR.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), codegen


@intrinsic
def load8(typing: Any, address: Any) -> Any:
    """The byte at ``address``, without the bounds and sign checks of an array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(_load(builder, args[0], _BYTE), _WORD)

    return types.int64(types.uint64), codegen


@intrinsic
def load64(typing: Any, address: Any) -> Any:
    """The 8 bytes from ``address`` on, the first one lowest (on little-endian machines)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, args[0], _WORD)

    return types.uint64(types.uint64), codegen


@intrinsic
def trailing_zeros(typing: Any, word: Any) -> Any:
    """Place of the lowest set bit; 64 if none is set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(_BIT, 0))

    return types.uint64(types.uint64), codegen


@intrinsic
def reversed_bytes(typing: Any, word: Any) -> Any:
    """The word with its bytes in the other order."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bswap(args[0])

    return types.uint64(types.uint64), codegen
