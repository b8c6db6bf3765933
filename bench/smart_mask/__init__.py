"""How well smart-mask/classical finds what somebody points at.

cases     photos, what is the object in each, and prompts made from that
prompts   a click, further clicks where the mask is wrong, boxes, strokes
__main__  the table, and a page of pictures to look at

`outlines.json` holds outlines of further objects, drawn by hand for this bench around
photos of the same data set: corner by corner, a few pixels exact.
"""
