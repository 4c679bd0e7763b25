"""What the book computes: where numbers lie, the four sums, the passes, the update and the epoch."""
