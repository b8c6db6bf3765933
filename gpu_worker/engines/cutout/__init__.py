"""Finding and cutting out a photo's subject without a trained model, by OpenCV alone.

saliency   what stands out, from how superpixels connect to the border
subject    which pixels are the subject: a mask at a small size, and how sure
edges      the mask as an alpha at full size, and colours free of the background
"""
