"""AID on Stable Video Diffusion at full size with random weights, beside what people do today."""
