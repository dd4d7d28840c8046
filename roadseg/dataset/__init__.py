"""Data sets: their layouts on disk, their samples, their checks, and the augmentation of training."""
