"""What the imaging operations cost, as ratios within one run.

library    one process: resize, and writing PNG, beside libvips and Pillow
memory     what one resize adds to an idle process, beside Pillow's
platform   uploads resized by the whole stack, beside libvips in a loop
load       the clients of `platform`, a process of their own
"""
