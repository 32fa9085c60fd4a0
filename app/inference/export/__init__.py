"""Converts a fitted estimator to ONNX and to arrays: runs when a version is published, never in a request."""
