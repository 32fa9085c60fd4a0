import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.request_ids import request_id_of

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128)


@given(PRINTABLE)
def test_a_callers_id_is_kept(given_id):
    assert request_id_of({"HTTP_X_REQUEST_ID": given_id}) == given_id


@pytest.mark.parametrize("bad", ["", "x" * 129, "a\nb", "a\x7f", "\x00", "é", "١"])
def test_an_unfit_one_is_replaced(bad):
    made = request_id_of({"HTTP_X_REQUEST_ID": bad})
    assert made != bad
    assert len(made) == 32


def test_a_new_id_stays_the_same_within_its_request():
    environ = {}
    assert request_id_of(environ) == request_id_of(environ)
    assert request_id_of(environ) != request_id_of({})
