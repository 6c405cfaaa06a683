"""The part of pillow-heif that facebatch calls; its own types are incomplete."""

from io import BytesIO

from PIL import Image

class _Options:
    DECODE_THREADS: int
    THUMBNAILS: bool
    DEPTH_IMAGES: bool
    AUX_IMAGES: bool

options: _Options

class HeifImage:
    size: tuple[int, int]
    mode: str
    info: dict[str, object]
    @property
    def data(self) -> bytes: ...
    @property
    def stride(self) -> int: ...

class HeifFile:
    primary_index: int
    def __init__(
        self,
        fp: BytesIO | None = ...,
        convert_hdr_to_8bit: bool = ...,
        *,
        remove_stride: bool = ...,
    ) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> HeifImage: ...
    def save(self, fp: BytesIO, **kwargs: object) -> None: ...

def from_pillow(pil_image: Image.Image) -> HeifFile: ...
def encode(
    mode: str, size: tuple[int, int], data: bytes, fp: BytesIO, **kwargs: object
) -> None: ...
