"""Finding and cutting out a photo's subject without weights, by OpenCV and dlib.

pieces     a small picture as superpixels
paths      how each of them is connected to the borders
cues       what speaks for and against each of them
faces      where faces are; people: what they say of those around them
boundaries where superpixels touch, and what speaks for an outline there
proposals  which sets of superpixels might be the whole subject, and their vote
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
