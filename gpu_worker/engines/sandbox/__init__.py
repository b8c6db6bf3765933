"""The engine of test keys, for every operation: real images that cost nothing.

engine       one class per operation; what all have in common
directions   errors and retries that a client asked for, to test its own code
marking      the mark that every picture carries
painting     pictures for a prompt
pretending   what stands for a model: the cheap and plausible thing
"""
