"""Faces out of pixels: decode, detect, align, embed. Pure computation: no sockets, no clock."""
