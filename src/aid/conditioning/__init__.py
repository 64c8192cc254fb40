"""What the denoiser is told: who says the states, and how sentences become tokens."""
