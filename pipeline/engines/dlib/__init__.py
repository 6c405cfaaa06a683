"""The default: YuNet finds faces, dlib's landmarks and ResNet tell them apart."""
