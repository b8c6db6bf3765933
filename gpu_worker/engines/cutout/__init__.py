"""Finding and cutting out a photo's subject without a trained model, by OpenCV alone.

saliency   what stands out, from how superpixels connect to the border
subject    which pixels are the subject: a mask at a small size, and how sure
edges      the mask as an alpha at full size, and colours free of the background
removal    all of it for one job, in its size, crop and format
"""

SIZES = {"preview": 250_000, "medium": 1_500_000, "hd": 4_000_000, "full": 50_000_000}
"""The most pixels of a result, by the parameter `size`."""
