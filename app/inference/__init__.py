"""Models: signed artefacts on the shelf, and the runtimes that answer with them."""
