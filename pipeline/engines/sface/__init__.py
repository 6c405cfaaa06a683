"""For large galleries: YuNet finds faces, SFace tells them apart."""
