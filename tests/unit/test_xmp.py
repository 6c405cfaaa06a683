"""Sidecars put faces where photo managers look for them, and hold whatever a name is made of."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.exports.xmp import sidecar, stored_area, written
from pipeline.photo import _as_stored

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "iptc": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
}
WIDTH, HEIGHT = 40, 24


def line(*names: str | None, orientation: int = 1, size: tuple[int, int] = (WIDTH, HEIGHT)) -> dict:
    """A photo with a face for each name, or for nobody, each further to the right."""
    return {
        "width": size[0],
        "height": size[1],
        "orientation": orientation,
        "faces": [
            {"box": [4 * n, 2, 4 * n + 3, 8], "subject": None if name is None else {"name": name}}
            for n, name in enumerate(names)
        ],
    }


def read(text: str | None) -> ET.Element:
    assert text is not None
    assert text.startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    root = ET.fromstring(text)
    assert root.tag == f"{{{NAMESPACES['x']}}}xmpmeta"
    return root


def regions(text: str | None) -> list[dict[str, str]]:
    """The regions as a reader sees them, members by name."""
    found = read(text).findall(".//mwg-rs:Regions/mwg-rs:RegionList/rdf:Bag/rdf:li", NAMESPACES)
    return [
        {one.tag.split("}")[1]: one.text or "" for one in region.iter() if len(one) == 0}
        for region in found
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_covers_the_face_in_the_image_as_it_is_stored(orientation: int) -> None:
    box = (6, 4, 18, 10)
    upright = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    upright[box[1] : box[3], box[0] : box[2]] = 255
    stored = _as_stored(upright, orientation)[..., 0]
    height, width = stored.shape
    x, y, w, h = stored_area(box, (WIDTH, HEIGHT), orientation)
    rows, columns = np.nonzero(stored)
    assert (x - w / 2) * width == pytest.approx(columns.min())
    assert (x + w / 2) * width == pytest.approx(columns.max() + 1)
    assert (y - h / 2) * height == pytest.approx(rows.min())
    assert (y + h / 2) * height == pytest.approx(rows.max() + 1)


@pytest.mark.parametrize(("orientation", "size"), [(1, ("40", "24")), (6, ("24", "40"))])
def test_the_dimensions_are_those_of_the_stored_image(
    orientation: int, size: tuple[str, str]
) -> None:
    root = read(sidecar(line("Ada", orientation=orientation)))
    applied = root.find(".//mwg-rs:AppliedToDimensions", NAMESPACES)
    assert applied is not None
    assert tuple(applied.findtext(f"stDim:{side}", None, NAMESPACES) for side in "wh") == size
    assert applied.findtext("stDim:unit", None, NAMESPACES) == "pixel"
    assert root.findtext(".//tiff:Orientation", None, NAMESPACES) == str(orientation)


def test_faces_of_nobody_have_no_name_or_no_region() -> None:
    both = line("Ada", None, "Grace")
    assert [one.get("Name") for one in regions(sidecar(both))] == ["Ada", None, "Grace"]
    known = regions(sidecar(both, unknown_faces=False))
    assert [one["Name"] for one in known] == ["Ada", "Grace"]
    assert {(one["Type"], one["unit"]) for one in known} == {("Face", "normalized")}
    people = read(sidecar(both)).findall(".//iptc:PersonInImage/rdf:Bag/rdf:li", NAMESPACES)
    assert [one.text for one in people] == ["Ada", "Grace"]


def test_a_photo_with_nothing_to_tell_has_no_sidecar() -> None:
    assert sidecar(line()) is None
    assert sidecar(line(None), unknown_faces=False) is None
    assert sidecar(line("Ada") | {"width": None}) is None


@given(st.text())
def test_every_name_comes_back_as_it_was(name: str) -> None:
    (region,) = regions(sidecar(line(name)))
    assert region["Name"] == "".join(char if _is_xml(char) else "\ufffd" for char in name)


def _is_xml(char: str) -> bool:
    """XML 1.0, production 2."""
    code = ord(char)
    return (
        code in {9, 10, 13} or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code > 0xFFFF
    )


@pytest.mark.parametrize("name", ["</mwg-rs:Name><x/>", "&amp;", "]]>", "{0}", "<!--", "a\r\nb\t"])
def test_a_name_is_no_markup(name: str) -> None:
    assert [one["Name"] for one in regions(sidecar(line(name)))] == [name]


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert written("a\x00b\ud800c\uffff") == "a\ufffdb\ufffdc\ufffd"
