"""The networks: Stable Video Diffusion's frozen parts, AID's trained ones, and the seam between."""
