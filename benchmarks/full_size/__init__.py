"""AID on Stable Video Diffusion at full size with random weights, and what public scripts do."""
