"""The dashboard: Streamlit pages over the HTTP API. Nothing of the rest of the project is imported here."""
