"""The outputs of a run: metrics, images, progress, status."""
