"""What a video shows, as numbers: outcomes read from pixels, and instruction accuracy."""
