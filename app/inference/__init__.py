"""Models: signed artefacts in the model registry, and the runtimes that answer with them."""
