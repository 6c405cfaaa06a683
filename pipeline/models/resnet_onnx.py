"""dlib's face ResNet as an ONNX model: the same arithmetic, which ONNX Runtime does much faster."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod

import numpy as np
import onnx
from numpy.typing import NDArray

from pipeline.errors import ModelFormatError
from pipeline.models.dlib_network import (
    AddTagged,
    Affine,
    Convolution,
    FullyConnected,
    Layer,
    Network,
    Pool,
    Relu,
    Skip,
    Tag,
    read_network,
)

OPSET = 17
IR_VERSION = 9
PIXEL_SCALE = 1 / 256

Plane = tuple[int, int, int]
"""Channels, rows, columns."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor of the graph."""

    name: str
    plane: Plane


@dataclass(slots=True)
class _Graph:
    """The ONNX graph as far as it is built, one layer after the other."""

    value: _Value
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    tagged: list[_Value] = field(default_factory=list)

    def emit(self, operator: str, inputs: Sequence[str], **attributes: int | list[int]) -> str:
        """Adds an operator; returns the name of its output."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        node = onnx.helper.make_node(operator, inputs, [name], name=name)
        node.attribute.extend(
            onnx.helper.make_attribute(key, value) for key, value in sorted(attributes.items())
        )
        self.nodes.append(node)
        return name

    def constant(self, values: NDArray[np.generic]) -> str:
        """Adds a constant; returns its name."""
        name = f"constant_{len(self.constants)}"
        contiguous = np.ascontiguousarray(values)
        self.constants.append(onnx.numpy_helper.from_array(contiguous, name))
        return name

    @singledispatchmethod
    def add(self, layer: Layer) -> None:
        """Adds what `layer` computes."""
        raise ModelFormatError(f"dlib's network has a layer of the kind {type(layer).__name__}")

    @add.register
    def _(self, layer: Convolution) -> None:
        channels, rows, columns = self.value.plane
        filters, taken, side, _ = layer.weights.shape
        _check(taken == channels, "a convolution")
        name = self.emit(
            "Conv",
            [self.value.name, self.constant(layer.weights), self.constant(layer.bias)],
            kernel_shape=[side, side],
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
        )
        length = [(one + 2 * layer.padding - side) // layer.stride + 1 for one in (rows, columns)]
        self.value = _Value(name, (filters, length[0], length[1]))

    @add.register
    def _(self, _layer: Relu) -> None:
        self.value = _Value(self.emit("Relu", [self.value.name]), self.value.plane)

    @add.register
    def _(self, layer: Pool) -> None:
        channels, rows, columns = self.value.plane
        if layer.side == 0:
            name = self.emit("GlobalAveragePool", [self.value.name])
            self.value = _Value(name, (channels, 1, 1))
            return
        operator = {"max": "MaxPool", "avg": "AveragePool"}[layer.kind]
        name = self.emit(
            operator,
            [self.value.name],
            kernel_shape=[layer.side] * 2,
            strides=[layer.stride] * 2,
        )
        length = [(one - layer.side) // layer.stride + 1 for one in (rows, columns)]
        self.value = _Value(name, (channels, length[0], length[1]))

    @add.register
    def _(self, _layer: Tag) -> None:
        self.tagged.append(self.value)

    @add.register
    def _(self, _layer: Skip) -> None:
        _check(len(self.tagged) >= 2, "a skip")
        latest = self.tagged.pop()
        self.value = self.tagged.pop()
        self.tagged.append(latest)

    @add.register
    def _(self, _layer: AddTagged) -> None:
        _check(bool(self.tagged), "a sum")
        other = self.tagged.pop()
        mine, theirs = self.value.plane, other.plane
        plane = (max(mine[0], theirs[0]), max(mine[1], theirs[1]), max(mine[2], theirs[2]))
        summands = [self._padded(self.value, plane), self._padded(other, plane)]
        self.value = _Value(self.emit("Add", summands), plane)

    @add.register
    def _(self, layer: FullyConnected) -> None:
        _check(self.value.plane == (layer.weights.shape[0], 1, 1), "the last matrix")
        flat = self.emit("Flatten", [self.value.name], axis=1)
        name = self.emit("MatMul", [flat, self.constant(layer.weights)])
        self.value = _Value(name, (layer.weights.shape[1], 1, 1))

    def _padded(self, value: _Value, plane: Plane) -> str:
        """`value` with zeros behind its last channels, rows and columns, up to `plane`."""
        if value.plane == plane:
            return value.name
        behind = [full - own for full, own in zip(plane, value.plane, strict=True)]
        pads = np.array([0, 0, 0, 0, 0, *behind], dtype=np.int64)
        return self.emit("Pad", [value.name, self.constant(pads)])


def resnet_to_onnx(data: bytes) -> bytes:
    """The bytes of an ONNX model of dlib's face ResNet, from those of its `.dat` file.

    Its input `chips` is (n, 150, 150, 3), uint8, RGB; its output `embedding` (n, 128), float32.
    Raises `ModelFormatError`.
    """
    network = read_network(data)
    graph = _Graph(_Value("chips", (3, network.side, network.side)))
    _normalise(graph, network)
    for layer in _folded(network.layers):
        graph.add(layer)
    _check(not graph.tagged, "the end")
    return _serialised(graph, network)


def _normalise(graph: _Graph, network: Network) -> None:
    """From bytes, channels last, to numbers round zero, channels first."""
    mean = np.array(network.rgb_mean, dtype=np.float32).reshape(1, 3, 1, 1)
    name = graph.emit("Cast", ["chips"], to=onnx.TensorProto.FLOAT)
    name = graph.emit("Transpose", [name], perm=[0, 3, 1, 2])
    name = graph.emit("Sub", [name, graph.constant(mean)])
    name = graph.emit("Mul", [name, graph.constant(np.array(PIXEL_SCALE, dtype=np.float32))])
    graph.value = _Value(name, graph.value.plane)


def _folded(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with each affine one drawn into the convolution before it, in double precision."""
    folded: list[Layer] = []
    for layer in layers:
        if not isinstance(layer, Affine):
            folded.append(layer)
            continue
        before = folded.pop()
        if not isinstance(before, Convolution) or before.bias.size != layer.scale.size:
            raise ModelFormatError("dlib's network has an affine layer without its convolution")
        scale = layer.scale.astype(np.float64)
        folded.append(
            Convolution(
                weights=(before.weights * scale[:, None, None, None]).astype(np.float32),
                bias=(before.bias * scale + layer.shift).astype(np.float32),
                stride=before.stride,
                padding=before.padding,
            )
        )
    return folded


def _serialised(graph: _Graph, network: Network) -> bytes:
    dimension = graph.value.plane[0]
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.value.name], ["embedding"]))
    side = network.side
    chips = onnx.helper.make_tensor_value_info(
        "chips", onnx.TensorProto.UINT8, ["n", side, side, 3]
    )
    embedding = onnx.helper.make_tensor_value_info(
        "embedding", onnx.TensorProto.FLOAT, ["n", dimension]
    )
    made = onnx.helper.make_graph(
        graph.nodes, "dlib_face_resnet", [chips], [embedding], graph.constants
    )
    model = onnx.helper.make_model(
        made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _check(fits: bool, what: str) -> None:  # noqa: FBT001 - a condition, as in `assert`.
    if not fits:
        raise ModelFormatError(f"dlib's network does not fit together at {what}")
