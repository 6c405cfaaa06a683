"""The ONNX models that the engines use, and what each is made from."""

from pipeline.models.cache import Recipe
from pipeline.models.files import RESNET, SFACE, YUNET

# The converters import onnx, which is large, and is needed once on a machine: so they are imported
# where a model is made, and not in each process that uses one.


def _dlib_resnet(data: bytes) -> bytes:
    from pipeline.models.resnet_onnx import resnet_to_onnx

    return resnet_to_onnx(data)


def _yunet(data: bytes) -> bytes:
    """For one photo of any size."""
    from pipeline.models.dequantize import dequantized

    return dequantized(data, open_in=(2, 3), open_out=(1,))


def _sface(data: bytes) -> bytes:
    """For any number of chips."""
    from pipeline.models.activations import split_prelu
    from pipeline.models.dequantize import dequantized

    return split_prelu(dequantized(data, open_in=(0,), open_out=(0,)))


DLIB_RESNET_ONNX = Recipe(name="dlib-resnet", version=1, source=RESNET, convert=_dlib_resnet)
YUNET_ONNX = Recipe(name="yunet", version=1, source=YUNET, convert=_yunet)
SFACE_ONNX = Recipe(name="sface", version=1, source=SFACE, convert=_sface)

RECIPES = (DLIB_RESNET_ONNX, YUNET_ONNX, SFACE_ONNX)
