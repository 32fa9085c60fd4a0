"""From a fitted estimator to what serves without it: run when a version is published, never in a request."""
