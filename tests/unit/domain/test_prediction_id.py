import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prediction_id import ID_LENGTH, Signer, raw_ids, read_marks, user_hash
from app.errors import UnknownPrediction

KEY = b"k" * 32
FACTS = {
    "served_at_us": st.integers(0, 2**56 - 1),
    "version_ordinal": st.integers(0, 2**16 - 1),
    "epoch": st.integers(0, 2**32 - 1),
    "counts": st.booleans(),
    "randomised": st.booleans(),
    "user_hash": st.integers(0, 2**48 - 1),
}


def one(signer=None, **facts):
    facts = {"served_at_us": 1, "version_ordinal": 1, "epoch": 1, "counts": True, "randomised": True} | facts
    return (signer or Signer(KEY, b"proc")).sign_all(**({"user_hash": 0, "answers": np.array([0])} | facts))[0]


@given(**FACTS, answer=st.floats(allow_nan=False))
def test_what_was_signed_is_what_is_read(answer, **facts):
    fact = Signer(KEY, b"else").verify(one(answers=np.array([answer]), **facts))
    assert fact.answer == answer
    assert {name: getattr(fact, name) for name in facts} == facts


@given(st.integers(0, ID_LENGTH - 1), st.sampled_from("AZaz09-_+/=!"))
def test_a_changed_character_is_never_believed(position, character):
    genuine = one()
    forged = genuine[:position] + character + genuine[position + 1 :]
    if forged == genuine:
        return
    with pytest.raises(UnknownPrediction):
        Signer(KEY, b"proc").verify(forged)


@given(st.text(max_size=80))
def test_any_other_text_is_unknown(text):
    with pytest.raises(UnknownPrediction):
        Signer(KEY, b"proc").verify(text)


def test_another_deployments_id_is_unknown():
    with pytest.raises(UnknownPrediction):
        Signer(b"other" * 6, b"proc").verify(one())


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_ids_sort_by_time_as_text(first, second):
    assert (one(served_at_us=first) <= one(served_at_us=second)) == (first <= second) or first == second


def test_ids_are_distinct_and_safe_in_a_url():
    signer = Signer(KEY, b"proc")
    facts = {"served_at_us": 1, "version_ordinal": 1, "epoch": 1, "counts": True, "randomised": True, "user_hash": 0}
    ids = [each for _ in range(2) for each in signer.sign_all(**facts, answers=np.zeros(5000))]
    assert len(set(ids)) == 10_000
    assert all(len(i) == ID_LENGTH and i.replace("-", "").replace("_", "").isalnum() for i in ids)


def test_a_user_is_never_hashed_to_nobody():
    assert len({user_hash(b"salt", f"u{i}") for i in range(1000)} - {0}) == 1000


def test_only_the_first_row_of_a_batch_is_a_fresh_random_assignment():
    facts = {"served_at_us": 1, "version_ordinal": 1, "epoch": 1, "counts": True, "randomised": True, "user_hash": 0}
    signer = Signer(KEY, b"proc")
    read = [signer.verify(i) for i in signer.sign_all(**facts, answers=np.zeros(3))]
    assert [fact.randomised for fact in read] == [True, False, False]
    assert all(fact.counts for fact in read)


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=5), st.integers(0, 2**24 - 1))
def test_each_id_of_a_batch_says_its_own_answer_and_has_its_own_number(answers, counter):
    signer = Signer(KEY, b"proc")
    signer._counter = counter  # the numbers begin again at 2**24
    facts = {"served_at_us": 1, "version_ordinal": 1, "epoch": 1, "counts": True, "randomised": True, "user_hash": 7}
    ids = signer.sign_all(**facts, answers=np.array(answers))
    assert [signer.verify(each).answer for each in ids] == answers
    numbers = [int.from_bytes(raw_ids([each])[11:14]) for each in (*ids, one(signer))]
    assert numbers == [(counter + 1 + place) % 2**24 for place in range(len(answers) + 1)]


@pytest.mark.parametrize("rows", [2, 5000])
def test_the_ids_of_a_batch_are_texts_and_bytes_that_say_the_same(rows):
    facts = {"served_at_us": 1, "version_ordinal": 1, "epoch": 1, "counts": True, "randomised": True, "user_hash": 0}
    ids = Signer(KEY, b"proc").sign_all(**facts, answers=np.zeros(rows))
    texts = [*ids]
    assert (ids, len(ids), ids[0], ids[-1]) == (texts, rows, texts[0], texts[-1])
    assert [ids[1:], ids[:1], ids[5:3], ids[1:-1]] == [texts[1:], texts[:1], [], texts[1:-1]]
    assert [ids[::-1], ids[::2]] == [texts[::-1], texts[::2]]
    assert raw_ids(ids) == raw_ids(texts) == b"".join(map(raw_ids, ([each] for each in texts)))
    assert ids.joined == "".join(texts).encode()


@pytest.mark.parametrize("wrong", ["+", "/", "=", "é", " ", "\n", ""])
def test_what_is_no_id_has_no_bytes(wrong):
    for place in (0, 30, 63):
        other = one()[:place] + wrong + one()[place + 1 :]
        assert raw_ids([other]) is raw_ids([one(), other]) is raw_ids([other, one()]) is None


@pytest.mark.parametrize("synthetic", [False, True])
def test_an_id_says_whether_its_request_was_synthetic(synthetic):
    assert read_marks(one(synthetic=synthetic)).synthetic is synthetic


def test_an_id_of_an_older_release_is_not_synthetic():
    marks = read_marks("---------M0mQqEGJzJ0--3----01k------------------tzIMFX0ITOXbfbmQ")
    assert (marks.synthetic, marks.randomised, marks.first) == (False, True, True)
