"""Masks by SAM 2: the image is embedded once, each prompt runs the small decoder.

settings   where the weights are
network    the model, one pass of the encoder over a batch, a prompt's masks
engine     the engine
"""
