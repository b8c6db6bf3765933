"""How good are the cut-outs? `python -m bench.cutout` scores them and shows every one.

photos       photos with accepted alphas; of several alphas the best counts
composites   known alphas on other photos, at plausible places, sizes and lighting
methods      what is scored: removebg/classical, and GrabCut from a plain rectangle
scores       overlap, alpha error, halo, and what `uncertain` is worth
page         every cut-out on black, white and magenta
"""
