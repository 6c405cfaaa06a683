"""The page that shows a live stream: files that a browser gets as they are."""
