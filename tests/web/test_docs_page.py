import re

import pytest

from app.web.documentation.page import FILES

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


@pytest.mark.parametrize(("page", "folder"), [("/docs", "/docs/"), ("/docs/", "")])
def test_the_page_loads_only_files_of_this_server(client, page, folder):
    html = client.get(page).text
    loaded = re.findall(r"""(?:src|href)="([^"]*)\"""", html)
    assert set(loaded) - {"/openapi.json"} == {f"{folder}{name}".lstrip("/") for name in FILES}
    assert not re.search(r"https?://|<script>|<style|style=|onclick", html)


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_served_with_its_type_and_not_sent_again(client, name):
    first = client.get(f"/docs/{name}")
    types = {"css": "text/css", "js": "text/javascript", "png": "image/png"}
    assert first.mimetype == types[name.rsplit(".")[-1]]
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get(f"/docs/{name}", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("name", ["swagger-ui.js", "page.py", "../page.py", "%2e%2e%2fpage.py"])
def test_no_other_file_is_served(client, name):
    assert client.get(f"/docs/{name}").status_code == 404


def test_the_policy_allows_no_inline_script_or_style_and_no_eval(client):
    sent = client.get("/docs").headers["Content-Security-Policy"]
    assert dict(part.split(" ", 1) for part in sent.split("; ")) == POLICY


def test_the_page_is_kept_from_being_framed_sniffed_or_leaking(client):
    headers = client.get("/docs").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
