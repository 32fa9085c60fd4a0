"""The pages; each has `show()`. (A package named `pages` would enable Streamlit's older navigation.)"""
