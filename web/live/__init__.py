"""The live stream: a WebSocket that takes frames of a camera, and answers who is in them."""
