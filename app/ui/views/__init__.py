"""The pages; each has `show()`. (A folder called `pages` would switch on Streamlit's older kind of navigation.)"""
