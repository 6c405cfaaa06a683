"""What `facebatch submit` does: folders and sources become jobs, and go on where they stopped."""
