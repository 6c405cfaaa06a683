"""The ONNX models that the engines use, and what each is made from."""

from functools import partial

from pipeline.models.activations import split_prelu
from pipeline.models.cache import Recipe
from pipeline.models.dequantize import dequantized
from pipeline.models.files import RESNET, SFACE, YUNET
from pipeline.models.resnet_onnx import resnet_to_onnx

DLIB_RESNET_ONNX = Recipe(name="dlib-resnet", version=1, source=RESNET, convert=resnet_to_onnx)
YUNET_ONNX = Recipe(  # One photo of any size.
    name="yunet",
    version=1,
    source=YUNET,
    convert=partial(dequantized, open_in=(2, 3), open_out=(1,)),
)
SFACE_ONNX = Recipe(  # Any number of chips.
    name="sface",
    version=1,
    source=SFACE,
    convert=lambda data: split_prelu(dequantized(data, open_in=(0,), open_out=(0,))),
)

RECIPES = (DLIB_RESNET_ONNX, YUNET_ONNX, SFACE_ONNX)
