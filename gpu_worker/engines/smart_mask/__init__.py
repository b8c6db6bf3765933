"""The object that somebody points at, as a mask.

Without a trained model, on any CPU:

prompts    what was pointed at: points, boxes, a guiding mask, held against the image
source     the image at the sizes that are worked on, kept for the next click
pieces     superpixels, and how far each is from others
belief     how likely each superpixel is the object
cutting    the object in one region of the image, by several beliefs that vote
evidence   whether paint is the whole object or a part of it
outline    the mask with a soft edge, moved and blurred, at the size of the image
masking    all of it for one job
classical  the engine

By a network on a device (`fastsam`, `sam2`):

neural     the engine around a network
asking     image and prompt, from the child that reads them to the device
seeing     one pass over the images that are new, a choice for each job
keeping    what was seen in the last images
readings   whether paint is the whole object or a part of it, by the network's masks
choosing   which of all the masks that were found are meant
answering  the masks as pictures, in a child
"""
