"""Vectors of floats for numba's kernels.

LLVM vectorises a loop over columns by itself, but loads and stores the running sums of a row at every step. These intrinsics
name vectors of ``LANES`` float32 numbers, so that running sums stay in registers. They are plain LLVM vectors: on a processor
with narrower registers LLVM splits them, and results are the same, since lanes are columns and never added to each other.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

#: float32 numbers in a vector: 16 where registers have 512 bits, else 8
LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8

_FLOAT = ir.FloatType()
_INT32 = ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INTS = ir.VectorType(_INT32, LANES)
_BITS = ir.IntType(LANES)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(f"float32x{LANES}")


vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _VECTOR)


def _pointer(context: Any, builder: Any, signature: Any, args: Any, first: int = 0) -> Any:
    """Address of element ``args[first + 1], args[first + 2]`` of the array ``args[first]``, as a vector's."""
    kind = signature.args[first]
    array = context.make_array(kind)(context, builder, args[first])
    places = [
        context.cast(builder, args[first + 1 + k], signature.args[first + 1 + k], types.intp) for k in range(kind.ndim)
    ]
    element = cgutils.get_item_pointer(context, builder, kind, array, places, wraparound=False)
    return builder.bitcast(element, _VECTOR.as_pointer())


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    """The same number in every lane."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


def _constant(value: int) -> Any:
    return ir.Constant(_INTS, [value] * LANES)


def _call_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [a, b, c])


@intrinsic
def load(typing: Any, array: Any, i: Any, j: Any) -> Any:
    """``array[i, j : j + LANES]``"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, args), align=4)

    return vector(array, i, j), generate


@intrinsic
def store(typing: Any, array: Any, i: Any, j: Any, value: Any) -> Any:
    """``array[i, j : j + LANES] = value``"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[3], _pointer(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return types.void(array, i, j, value), generate


@intrinsic
def prefetch(typing: Any, array: Any, i: Any, j: Any) -> Any:
    """Ask for the cache line of ``array[i, j]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.bitcast(_pointer(context, builder, signature, args), byte)
        builder.call(function, [place, *(ir.Constant(_INT32, k) for k in (0, 3, 1))])  # read, keep, data
        return context.get_dummy_value()

    return types.void(array, i, j), generate


@intrinsic
def spread(typing: Any, number: Any) -> Any:
    """The same float32 number in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _spread(builder, context.cast(builder, args[0], signature.args[0], types.float32), _VECTOR)

    return vector(number), generate


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call_fma(builder, *args)

    return vector(a, b, c), generate


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:
    """``a + b``"""
    return vector(a, b), lambda context, builder, signature, args: builder.fadd(*args)


@intrinsic
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """``a * b``"""
    return vector(a, b), lambda context, builder, signature, args: builder.fmul(*args)


@intrinsic
def positive(typing: Any, a: Any) -> Any:
    """One bit per lane: whether it is above zero. uint16"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        above = builder.fcmp_ordered(">", args[0], ir.Constant(_VECTOR, [0.0] * LANES))
        return (
            builder.zext(builder.bitcast(above, _BITS), ir.IntType(16)) if LANES < 16 else builder.bitcast(above, _BITS)
        )

    return types.uint16(a), generate


@intrinsic
def choose(typing: Any, bits: Any, a: Any, b: Any) -> Any:
    """``a`` in the lanes whose bit is set, ``b`` in the others."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = builder.trunc(args[0], _BITS) if LANES < 16 else args[0]
        return builder.select(builder.bitcast(mask, ir.VectorType(ir.IntType(1), LANES)), args[1], args[2])

    return vector(types.uint16, a, b), generate


@intrinsic
def keep_bits(typing: Any, row_key: Any, column: Any, keep16: Any) -> Any:
    """One bit per lane: whether dropout keeps columns ``column ..``; the hash of ``hashing.keep16``. uint16"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = context.cast(builder, args[1], signature.args[1], types.uint32)
        column = builder.add(_spread(builder, first, _INTS), ir.Constant(_INTS, list(range(LANES))))
        z = builder.add(_spread(builder, args[0], _INTS), builder.mul(column, _constant(0x9E3779B9)))
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            z = builder.mul(builder.xor(z, builder.lshr(z, _constant(shift))), _constant(factor))
        z = builder.lshr(builder.xor(z, builder.lshr(z, _constant(16))), _constant(16))
        kept = builder.icmp_unsigned("<", z, _spread(builder, args[2], _INTS))
        return (
            builder.zext(builder.bitcast(kept, _BITS), ir.IntType(16)) if LANES < 16 else builder.bitcast(kept, _BITS)
        )

    return types.uint16(types.uint32, column, types.uint32), generate


def _multiply_tile(rows: int, transposed: bool) -> Any:
    """Make ``out[i : i + rows, j : j + 2 LANES] (+)= left[...] @ right[:depth, j : j + 2 LANES]`` with all sums in registers."""

    def define(typing: Any, out: Any, i: Any, j: Any, left: Any, li: Any, right: Any, depth: Any, start: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out_v, i_v, j_v, left_v, li_v, right_v, depth_v, start_v = args
            out_t, i_t, j_t, left_t, li_t, right_t, depth_t, start_t = signature.args
            to = lambda value, kind: context.cast(builder, value, kind, types.intp)  # noqa: E731
            i_n, j_n, li_n, depth_n, start_n = (
                to(i_v, i_t), to(j_v, j_t), to(li_v, li_t), to(depth_v, depth_t), to(start_v, start_t)
            )  # fmt: skip
            arrays = {
                "out": (out_t, context.make_array(out_t)(context, builder, out_v)),
                "left": (left_t, context.make_array(left_t)(context, builder, left_v)),
                "right": (right_t, context.make_array(right_t)(context, builder, right_v)),
            }

            def place(name: str, row: Any, column: Any) -> Any:
                kind, array = arrays[name]
                return cgutils.get_item_pointer(context, builder, kind, array, [row, column], wraparound=False)

            def shifted(value: Any, k: int) -> Any:
                return builder.add(value, ir.Constant(value.type, k)) if k else value

            def vector_at(name: str, row: Any, column: Any) -> Any:
                return builder.bitcast(place(name, row, column), _VECTOR.as_pointer())

            sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in range(2)] for _ in range(rows)]
            for r in range(rows):
                for v in range(2):
                    at = vector_at("out", shifted(i_n, r), shifted(j_n, v * LANES))
                    builder.store(builder.load(at, align=4), sums[r][v])
            with cgutils.for_range_slice(builder, start_n, depth_n, ir.Constant(depth_n.type, 1)) as (k, _):
                panels = [builder.load(vector_at("right", k, shifted(j_n, v * LANES)), align=4) for v in range(2)]
                for r in range(rows):
                    at = place("left", k, shifted(li_n, r)) if transposed else place("left", shifted(li_n, r), k)
                    factor = _spread(builder, builder.load(at), _VECTOR)
                    for v in range(2):
                        builder.store(_call_fma(builder, factor, panels[v], builder.load(sums[r][v])), sums[r][v])
            for r in range(rows):
                for v in range(2):
                    at = vector_at("out", shifted(i_n, r), shifted(j_n, v * LANES))
                    builder.store(builder.load(sums[r][v]), at, align=4)
            return context.get_dummy_value()

        return types.void(out, i, j, left, li, right, depth, start), generate

    return intrinsic(define)


#: ``out[i:i+8, j:j+2 LANES] += left[li:li+8, start:depth] @ right[start:depth, j:j+2 LANES]``
multiply_tile = _multiply_tile(8, False)
#: the same with ``left[start:depth, li:li+8]`` transposed
multiply_tile_transposed = _multiply_tile(8, True)
