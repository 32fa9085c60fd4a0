import base64
import hashlib
import re


def test_the_page_loads_nothing_from_elsewhere(client):
    html = client.get("/docs").text
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!/openapi\.json)""", html)
    assert not re.search(r"https?://|@import|url\(", html)


def test_the_policy_allows_just_the_style_and_script_of_the_page(client):
    answer = client.get("/docs")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    for tag in ("style", "script"):
        inline = re.search(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert (policy["default-src"], policy["frame-ancestors"], policy["connect-src"]) == ("'none'", "'none'", "'self'")


def test_the_page_is_kept_from_being_framed_sniffed_or_leaking(client):
    headers = client.get("/docs").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_page_writes_no_markup_from_data(client):
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", client.get("/docs").text)


def test_what_is_tried_out_on_the_page_is_no_evidence_unless_it_is_switched_on(client):
    html = client.get("/docs").text
    assert '<input id="counts" type="checkbox">' in html
    assert 'if (!document.getElementById("counts").checked) headers["X-Traffic-Kind"] = "synthetic";' in html
