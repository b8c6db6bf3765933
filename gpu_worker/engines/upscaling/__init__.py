"""Larger pictures without a trained model: an honest resampler that invents nothing.

classical    the engine: what it may be asked for
resampling   Lanczos and a little sharpening, strip by strip
deblocking   the seams of a JPEG, closed before they are magnified
"""
