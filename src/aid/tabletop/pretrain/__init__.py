"""Trains a small backbone of the SVD family from random weights on `play` and other worlds.

The parts are trained in this order: `autoencoder` (latents), `clip` (image and text tower),
`words` (the text tower further), `image_to_video` (the UNet, which never sees text). Each is
written in SVD's directory layout.
"""
