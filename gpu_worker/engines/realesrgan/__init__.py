"""upscale/realesrgan: detail made up by trained networks (Real-ESRGAN, arXiv
2107.10833), read by spandrel, which knows their architectures.

files      which of the five named networks are there
networks   a file as a network on the device
tiling     a picture of any size in tiles that fit the device
carrying   pictures to and from the children, with profile and metadata
engine     what the worker knows before anything of this is imported
"""
