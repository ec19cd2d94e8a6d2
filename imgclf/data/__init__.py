"""Samples, splits, checks, images and loaders: everything before the first training step."""
