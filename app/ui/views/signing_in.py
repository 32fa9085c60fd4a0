"""The administrative token: asked for once, kept in this session's memory and nowhere else."""

from __future__ import annotations

import streamlit as st

from app.ui.session import actor, admin_token, forget_admin, remember_admin


def show(key: str) -> bool:
    """Whether there is a token; else asks for it. A wrong one shows when it is used: the api alone knows."""
    if admin_token() is not None:
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.caption(f"You decide as **{actor() or 'admin'}**, until this page is closed or reloaded.")
        if right.button("Forget the token", key=f"sign-out-{key}"):
            forget_admin()
            st.rerun()
        return True
    with st.form(f"sign-in-{key}"):
        st.caption("Changes need the administrative token (ADMIN_TOKEN of the api). It stays in this session only.")
        token = st.text_input("Administrative token", type="password", autocomplete="off", key=f"token-{key}")
        name = st.text_input("Your name, for the audit log", max_chars=64, key=f"name-{key}")
        if st.form_submit_button("Use it", icon=":material/key:") and token.strip():
            remember_admin(token, name)
            st.rerun()
    return False
