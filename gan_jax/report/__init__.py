"""What a run shows: metrics, pictures, progress, status."""
