"""The only place that knows concrete classes: makes the parts and joins them, when asked, never on import."""
