"""Pure maths of noising and denoising: torch only, no weights, no files."""
