"""What `facebatch jobs` does to one job."""
