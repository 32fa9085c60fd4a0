"""The only package that makes concrete classes and joins them: on request, never on import."""
