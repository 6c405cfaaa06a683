"""XMP sidecars with the faces of a photo as regions, as photo managers read them.

The Metadata Working Group's Guidelines for Handling Image Metadata 2.0 (November 2010), section
5.9, define the regions: `stArea` has the centre and the size of a rectangle, each as a share of the
image's width or height, and `AppliedToDimensions` the size in pixels of the image that they were
made for. Of rotation they say that region metadata applies to the stored image: whoever turns the
image by its EXIF orientation turns the regions with it. So our boxes, which are those of the
upright photo, are turned back here, and width and height of the photo with them. digiKam writes and
reads them so; `tiff:Orientation` repeats the file's orientation for readers that look for it beside
the regions. That a photo had to be turned for its faces to be found (`rotation`) plays no part: the
boxes are those of the photo as it is.
"""

import re
from importlib.metadata import version
from xml.sax.saxutils import escape

from db.exports.lines import Line

TOOLKIT = "facebatch"
"""What `x:xmptk` begins with in sidecars of ours."""
_TOOLKIT_VERSION = f"{TOOLKIT} {version('facebatch')}"
_TURNED = frozenset({5, 6, 7, 8})
_MIRRORED_ACROSS, _MIRRORED_DOWN = frozenset({2, 3, 6, 7}), frozenset({3, 4, 7, 8})
# What XML 1.0 has no way to write (section 2.2).
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A reader makes spaces or line feeds of these where they stand as they are.
_ENTITIES = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="{toolkit}">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#">
   <tiff:Orientation>{orientation}</tiff:Orientation>
{people}   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions rdf:parseType="Resource">
     <stDim:w>{width}</stDim:w>
     <stDim:h>{height}</stDim:h>
     <stDim:unit>pixel</stDim:unit>
    </mwg-rs:AppliedToDimensions>
    <mwg-rs:RegionList>
     <rdf:Bag>
{regions}     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
_PEOPLE = """   <Iptc4xmpExt:PersonInImage>
    <rdf:Bag>
{names}    </rdf:Bag>
   </Iptc4xmpExt:PersonInImage>
"""
_NAME = "     <rdf:li>{name}</rdf:li>\n"
_REGION = """      <rdf:li rdf:parseType="Resource">
{name}       <mwg-rs:Type>Face</mwg-rs:Type>
       <mwg-rs:Area rdf:parseType="Resource">
        <stArea:x>{x:.6f}</stArea:x>
        <stArea:y>{y:.6f}</stArea:y>
        <stArea:w>{w:.6f}</stArea:w>
        <stArea:h>{h:.6f}</stArea:h>
        <stArea:unit>normalized</stArea:unit>
       </mwg-rs:Area>
      </rdf:li>
"""
_REGION_NAME = "       <mwg-rs:Name>{name}</mwg-rs:Name>\n"


def sidecar(line: Line, *, unknown_faces: bool = True) -> str | None:
    """The sidecar of a photo's line; None for a photo that has no region to tell of.

    A face that is taken for somebody has that name; the others have none, and are left out where
    `unknown_faces` is false.
    """
    faces = [face for face in line["faces"] if unknown_faces or face["subject"]]
    if not faces or not line["width"] or not line["height"]:
        return None
    orientation = line["orientation"] or 1
    names = sorted({face["subject"]["name"] for face in faces if face["subject"]})
    size = line["width"], line["height"]
    width, height = reversed(size) if orientation in _TURNED else size
    return _PACKET.format(
        toolkit=_TOOLKIT_VERSION,
        orientation=orientation,
        people=_people(names),
        width=width,
        height=height,
        regions="".join(_region(face, size, orientation) for face in faces),
    )


def stored_area(
    box: tuple[int, int, int, int], size: tuple[int, int], orientation: int
) -> tuple[float, float, float, float]:
    """Centre x and y, width and height of an upright photo's box, as shares of the stored image.

    `box` is left, top, right, bottom, and `size` width and height, both of the upright photo.
    """
    left, top, right, bottom = box
    width, height = size
    x, w = (left + right) / 2 / width, (right - left) / width
    y, h = (top + bottom) / 2 / height, (bottom - top) / height
    if orientation in _MIRRORED_ACROSS:
        x = 1 - x
    if orientation in _MIRRORED_DOWN:
        y = 1 - y
    return (y, x, h, w) if orientation in _TURNED else (x, y, w, h)


def written(text: str) -> str:
    """Text as it stands between tags; what XML cannot hold becomes U+FFFD."""
    return escape(_UNWRITABLE.sub("\ufffd", text), _ENTITIES)


def _people(names: list[str]) -> str:
    if not names:
        return ""
    return _PEOPLE.format(names="".join(_NAME.format(name=written(name)) for name in names))


def _region(face: Line, size: tuple[int, int], orientation: int) -> str:
    left, top, right, bottom = face["box"]
    x, y, w, h = stored_area((left, top, right, bottom), size, orientation)
    subject = face["subject"]
    name = _REGION_NAME.format(name=written(subject["name"])) if subject else ""
    return _REGION.format(name=name, x=x, y=y, w=w, h=h)
