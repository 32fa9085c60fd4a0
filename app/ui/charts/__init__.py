"""Charts in Altair. Each comes with a text description and stands beside its table."""
