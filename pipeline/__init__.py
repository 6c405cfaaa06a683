"""Faces out of pixels: decode, detect, align, embed, compare. Pure computation, no sockets, no clock."""
