"""Model files: found in their packages, checked, converted to ONNX, and kept in a cache."""
