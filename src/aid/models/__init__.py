"""The networks: Stable Video Diffusion, frozen, and the parts that AID trains on it."""
