"""Tables from files: one reader for CSV and Parquet, and the meaning of their cells. Knows nothing of the rest."""
