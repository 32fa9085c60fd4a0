"""Charts in Altair. Each comes with the words that say the same, and stands beside its table."""
