"""Trains a small backbone of the SVD family from random weights on the table-top's `play` split.

The parts are trained in this order: `autoencoder` (latents), `clip` (image and text tower),
`image_to_video` (the UNet, which never sees text). Each is written in SVD's directory layout.
`words` trains an existing text tower further.
"""
