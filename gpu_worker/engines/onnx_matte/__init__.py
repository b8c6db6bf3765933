"""removebg/onnx: cut-outs by whatever matting network an owner has as an ONNX file:
ISNet, U²-Net, BiRefNet-lite, a network of their own. For machines without a GPU.

settings   the file, and what it wants to be shown
network    the file in ONNX Runtime
cutting    one job: picture, network, opacity, colours
engine     what the worker knows before anything of this is imported
"""
