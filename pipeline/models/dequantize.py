"""Block-quantised ONNX weights turned back into 32-bit floats.

ONNX Runtime refuses the one model and computes the other one faster in floats (`DequantizeLinear`
with `block_size` is defined in ONNX's operator set 21).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from pipeline.errors import ModelFormatError

Floats = NDArray[np.float32]


def dequantized(data: bytes, *, open_in: Sequence[int], open_out: Sequence[int]) -> bytes:
    """The ONNX model in `data` with every constant `DequantizeLinear` computed.

    `open_in` and `open_out` are the axes of its inputs and outputs whose length is left open.
    Raises `ModelFormatError` where the bytes are no such model.
    """
    try:
        model = onnx.load_model_from_string(data)
        constants = _constants(model.graph)
        _fold(model.graph, constants)
        _drop_unused(model.graph)
        _open(model.graph.input, open_in)
        _open(model.graph.output, open_out)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))
    except ModelFormatError:
        raise
    except Exception as exc:  # onnx and protobuf name no root of their errors.
        raise ModelFormatError("the ONNX model is not one that we know how to read") from exc


def _constants(graph: onnx.GraphProto) -> Mapping[str, NDArray[np.generic]]:
    found = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    return found


def _fold(graph: onnx.GraphProto, constants: Mapping[str, NDArray[np.generic]]) -> None:
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            values = _dequantize(node, [constants[name] for name in node.input])
            graph.initializer.append(onnx.numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _dequantize(node: onnx.NodeProto, inputs: list[NDArray[np.generic]]) -> Floats:
    """(quantised - zero point) * scale, with one scale for each block along the axis."""
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    quantised, scale = (one.astype(np.float32) for one in inputs[:2])
    zero = inputs[2].astype(np.float32) if len(inputs) > 2 else np.zeros_like(scale)
    axis = int(attributes.get("axis", 1)) % max(quantised.ndim, 1)
    block = int(attributes.get("block_size", 0))
    values = (quantised - _spread(zero, quantised, axis, block)) * _spread(
        scale, quantised, axis, block
    )
    return values.astype(np.float32)


def _spread(part: Floats, whole: Floats, axis: int, block: int) -> Floats:
    """`part`, one value for each block, axis entry or tensor, repeated to the shape of `whole`."""
    if part.size == 1:
        return part.reshape(())
    if block:
        return np.repeat(part, block, axis=axis).take(range(whole.shape[axis]), axis=axis)
    shape = [1] * whole.ndim
    shape[axis] = -1
    return part.reshape(shape)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Takes out the quantised values, and inputs that are constants."""
    used = {name for node in graph.node for name in node.input}
    constants = {one.name: one for one in graph.initializer if one.name in used}
    inputs = [one for one in graph.input if one.name in used and one.name not in constants]
    for held, wanted in ((graph.initializer, constants.values()), (graph.input, inputs)):
        copies = list(wanted)
        del held[:]
        held.extend(copies)
    del graph.value_info[:]


def _open(values: Iterable[onnx.ValueInfoProto], axes: Iterable[int]) -> None:
    for value in values:
        for axis in axes:
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
