"""dlib's face ResNet read from its file into layers, in the order in which they compute.

The file is dlib's serialisation of one C++ type, `anet_type` of dlib's dnn_face_recognition_ex.cpp.
It names the kinds of the computing layers but not how they hang together: that is written down here
and every layer must be of the kind that stands at its place. dlib writes a layer's version, then
the layers below it, and then what is left of the layer itself.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.models.dlib_stream import DlibStream, Shape

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convolution:
    """A convolution; `weights` (filters, channels, rows, columns), `bias` (filters,)."""

    weights: Floats
    bias: Floats
    stride: int
    padding: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Affine:
    """Scale and shift for each channel: what batch normalisation is after training."""

    scale: Floats
    shift: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Pooling without padding; a `side` of 0 takes in the whole plane."""

    kind: str
    """`max` or `avg`; of the whole plane only the average."""
    side: int
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FullyConnected:
    """A matrix (inputs, outputs) without bias."""

    weights: Floats


@dataclass(frozen=True, slots=True)
class Relu:
    """Negative values become zero."""


@dataclass(frozen=True, slots=True)
class Tag:
    """Remembers what it gets, for `AddTagged` or `Skip`."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Goes on with what the tag before the latest one remembers."""


@dataclass(frozen=True, slots=True)
class AddTagged:
    """Adds what the latest tag remembers; the smaller of the two is padded with zeros."""


Layer: TypeAlias = Convolution | Affine | Pool | FullyConnected | Relu | Tag | Skip | AddTagged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """The layers from the image to the embedding, and how the image becomes numbers."""

    rgb_mean: tuple[float, float, float]
    """Subtracted from red, green and blue; the rest is divided by 256."""
    side: int
    """Rows and columns of the image, in pixels."""
    layers: tuple[Layer, ...]


_BLOCK = ("affine", "con", "relu", "affine", "con")
_RESIDUAL = ("relu", "add", *_BLOCK, "tag")
_RESIDUAL_DOWN = ("relu", "add", "avg", "skip", "tag", *_BLOCK, "tag")
_OUTERMOST_FIRST = (
    *("fc", "avg"),
    *_RESIDUAL_DOWN,
    *(_RESIDUAL * 2 + _RESIDUAL_DOWN),
    *(_RESIDUAL * 2 + _RESIDUAL_DOWN),
    *(_RESIDUAL * 3 + _RESIDUAL_DOWN),
    *(_RESIDUAL * 3),
    *("max", "relu", "affine"),
)
"""The layers above the first convolution, as `anet_type` nests them."""
_STRUCTURAL: Mapping[str, Layer] = {"tag": Tag(), "skip": Skip()}


def read_network(data: bytes) -> Network:
    """The network in the bytes of `dlib_face_recognition_resnet_model_v1.dat`.

    Raises `ModelFormatError` for every byte that is not fully understood.
    """
    stream = DlibStream(data)
    stream.expect(stream.integer(), 1, "the loss layer's version")
    stream.expect(stream.text(), "loss_metric_2", "the loss layer")
    for _margin_and_threshold in range(2):
        stream.real()
    versions = [stream.integer() for _ in _OUTERMOST_FIRST]
    innermost_version = stream.integer()
    mean, side = _input(stream)
    layers = [_computing(stream, "con")]
    _rest_of_innermost(stream, innermost_version)
    layers.extend(_above(stream, versions))
    # What the loss layer keeps comes first in the file: nothing follows its network.
    stream.end()
    return Network(rgb_mean=mean, side=side, layers=tuple(layers))


def _input(stream: DlibStream) -> tuple[tuple[float, float, float], int]:
    stream.expect(stream.text(), "input_rgb_image_sized", "the input layer")
    mean = (stream.real(), stream.real(), stream.real())
    rows, columns = stream.size(), stream.size()
    stream.expect(rows, columns, "the input's size")
    return mean, rows


def _above(stream: DlibStream, versions: list[int]) -> Iterator[Layer]:
    """The layers above the innermost, which follow from the inside out."""
    for kind, version in zip(reversed(_OUTERMOST_FIRST), reversed(versions), strict=True):
        if kind in _STRUCTURAL:
            stream.expect(version, 1, f"the version of a {kind}")
            yield _STRUCTURAL[kind]
            continue
        stream.expect(version, 2, "a layer's version")
        yield _computing(stream, kind)
        _rest(stream)
        stream.tensor()  # Gradients of the parameters.


def _rest_of_innermost(stream: DlibStream, version: int) -> None:
    if version not in {2, 3}:
        raise stream.unknown("the innermost layer's version")
    _rest(stream)
    stream.tensor()
    if version == 3:
        stream.size()  # How many samples an image becomes.


def _rest(stream: DlibStream) -> None:
    """What training left in a layer and computing does not need."""
    for _flag in range(3):
        stream.boolean()
    for _gradient_and_output in range(2):
        stream.tensor()


def _computing(stream: DlibStream, kind: str) -> Layer:
    name = stream.text()
    readers: Mapping[tuple[str, str], Callable[[DlibStream], Layer]] = {
        ("con", "con_4"): _convolution,
        ("affine", "affine_"): _affine,
        ("fc", "fc_2"): _fully_connected,
        ("max", "max_pool_2"): lambda source: _pool(source, "max"),
        ("avg", "avg_pool_2"): lambda source: _pool(source, "avg"),
        ("relu", "relu_"): lambda _: Relu(),
        ("add", "add_prev_"): lambda _: AddTagged(),
    }
    if (kind, name) not in readers:
        raise stream.unknown(f"a layer of the kind {kind}")
    return readers[kind, name](stream)


def _convolution(stream: DlibStream) -> Convolution:
    parameters = stream.tensor().reshape(-1)
    filters = stream.size()
    rows, columns, stride_y, stride_x, padding_y, padding_x = (stream.size() for _ in range(6))
    weights_shape, bias_shape = stream.alias(), stream.alias()
    _learning_rates(stream)
    weights, bias = _split(stream, parameters, weights_shape, bias_shape)
    stream.expect(weights.shape[0], filters, "a convolution's filters")
    stream.expect((rows, columns), weights.shape[2:], "a convolution's size")
    stream.expect(bias.size, filters, "a convolution's bias")
    stream.expect(columns, rows, "a convolution's size")
    _stride(stream, stride_y, stride_x)
    stream.expect(padding_x, padding_y, "a convolution's padding")
    return Convolution(weights=weights, bias=bias.reshape(-1), stride=stride_y, padding=padding_y)


def _affine(stream: DlibStream) -> Affine:
    parameters = stream.tensor().reshape(-1)
    scale_shape, shift_shape = stream.alias(), stream.alias()
    stream.expect(stream.integer(), 0, "an affine layer's mode")  # 0: a value for each channel.
    scale, shift = _split(stream, parameters, scale_shape, shift_shape)
    stream.expect(scale.size, shift.size, "an affine layer's size")
    return Affine(scale=scale.reshape(-1), shift=shift.reshape(-1))


def _fully_connected(stream: DlibStream) -> FullyConnected:
    outputs, inputs = stream.size(), stream.size()
    parameters = stream.tensor().reshape(-1)
    weights_shape, bias_shape = stream.alias(), stream.alias()
    stream.expect(stream.integer(), 1, "whether there is a bias")  # 1: there is none.
    _learning_rates(stream)
    stream.expect(math.prod(bias_shape), 0, "a bias")
    stream.expect(parameters.size, inputs * outputs, "a matrix's size")
    stream.expect(math.prod(weights_shape), inputs * outputs, "a matrix's size")
    return FullyConnected(weights=parameters.reshape(inputs, outputs))


def _pool(stream: DlibStream, kind: str) -> Pool:
    rows, columns, stride_y, stride_x, padding_y, padding_x = (stream.size() for _ in range(6))
    stream.expect(columns, rows, "a pool's size")
    if rows == 0 and kind != "avg":
        raise stream.unknown("a pool's size")
    _stride(stream, stride_y, stride_x)
    stream.expect((padding_y, padding_x), (0, 0), "a pool's padding")
    return Pool(kind=kind, side=rows, stride=stride_y)


def _stride(stream: DlibStream, down: int, across: int) -> None:
    stream.expect(across, down, "a stride")
    if down == 0:
        raise stream.unknown("a stride")


def _learning_rates(stream: DlibStream) -> None:
    for _rate in range(4):
        stream.real()


def _split(
    stream: DlibStream, parameters: Floats, first: Shape, second: Shape
) -> tuple[Floats, Floats]:
    """The two parts of a layer's parameters, which follow each other without a gap."""
    border, total = math.prod(first), math.prod(first) + math.prod(second)
    stream.expect(parameters.size, total, "the number of a layer's parameters")
    return parameters[:border].reshape(first), parameters[border:].reshape(second)
