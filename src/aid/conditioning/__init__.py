"""The conditions in words: state writers, and the encoding of sentences as tokens."""
