"""How much of a GPU the engines use: full-size networks with random weights.

measure    times by the device's own clock, memory, what the device can do at most
birefnet   the network of removebg/birefnet, and all that its engine does on the device
fastsam    the network of smart-mask/fastsam, and all of a batch from pixels to masks
sam2       that of smart-mask/sam2: its encoder, and one click
__main__   python -m bench.gpu birefnet

Needs torch and a GPU, and of this repository only the parts it measures.
"""
