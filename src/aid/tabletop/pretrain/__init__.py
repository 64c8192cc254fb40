"""Verb 0: a small backbone of the SVD family from nothing, trained on the table-top's `play` split.

Three parts in this order: `autoencoder` (latents), `clip` (the image token and the text tower),
`image_to_video` (the UNet, which never sees text). Each writes its part in SVD's directory layout.
`words` is for a text tower that goes on.
"""
