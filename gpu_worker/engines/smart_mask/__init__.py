"""The object that somebody points at, as a mask, without a trained model.

prompts    what was pointed at: points, boxes, a guiding mask, held against the image
source     the image at the sizes that are worked on, kept for the next click
pieces     superpixels, and how far each is from others
belief     how likely each superpixel is the object
cutting    the object in one region of the image, by several beliefs that vote
outline    the mask with a soft edge, moved and blurred, at the size of the image
masking    all of it for one job
classical  the engine
"""
