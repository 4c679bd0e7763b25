"""Activations, losses, optimizers and the elementary functions that they use: one entry of a table, one class."""
