"""Finding and cutting out a photo's subject without a trained model, by OpenCV alone.

pieces     a small picture as superpixels
paths      how each of them is connected to the borders
cues       what speaks for and against each of them
fitted     how much each cue counts
subject    which pixels are the subject: a mask at a small size; search: how it got
           there
certainty  how likely that mask is right
edges      the mask as an alpha at full size, and colours free of the background
removal    all of it for one job

What follows is for the cut-outs of all engines, of models as well:

options    what clients ask of a cut-out, before and after the engine
placing    crop, scale, position
grounds    colour, image or shadow behind it
apart      colours and opacity as two files of one archive
"""
