"""Videos and instructions on disk: manifests, and the cache that training reads."""
