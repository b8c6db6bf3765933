"""Masks by FastSAM: everything in the image is found at once, a prompt then chooses.

settings   where the weights are, and whether their licence was acknowledged
network    the weights, one pass over a batch, what it found
engine     the engine
"""
