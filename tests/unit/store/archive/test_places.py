"""Where an archive can be: a folder, or S3 (a server that imitates it)."""

import os

import pytest
from pyarrow import fs

from app.errors import ArchiveUnavailable, InvalidRequest
from app.store.archive import places
from app.store.archive.places import place_of


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return place_of(str(tmp_path / "archive"))
    request.getfixturevalue("s3")
    return place_of(f"s3://logs/{tmp_path.name}")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"0123456789")
    return path


def test_a_file_is_put_read_listed_and_deleted(place, source):
    assert (place.read("a/day=1/1.parquet"), place.sizes()) == (None, {})
    place.put("a/day=1/1.parquet", source)
    assert place.sizes() == {"a/day=1/1.parquet": 10}
    assert place.read("a/day=1/1.parquet") == b"0123456789"
    with place.open("a/day=1/1.parquet") as file:
        file.seek(7)
        assert file.read() == b"789"
    place.delete("a/day=1/1.parquet")
    assert place.sizes() == {}


def test_a_file_is_replaced_as_a_whole(place, source):
    place.put("manifest.json", source)
    source.write_bytes(b"new")
    place.put("manifest.json", source)
    assert (place.read("manifest.json"), place.sizes()) == (b"new", {"manifest.json": 3})


def test_a_file_that_is_not_there_is_named(place):
    with pytest.raises(ArchiveUnavailable, match="has no file a, which its list has"):
        place.open("a")


def test_a_bucket_that_is_not_there_is_named(place, source):
    if "s3://" not in place.text:
        pytest.skip("a folder is made")
    with pytest.raises(ArchiveUnavailable, match="in the archive at s3://nowhere/logs cannot be used"):
        place_of("s3://nowhere/logs").put("a", source)


def test_a_server_that_does_not_answer_is_asked_three_times(s3, silent_server, monkeypatch):
    silent_server.hangs_up = True  # which tells the client sooner than saying nothing
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent_server.url)
    with pytest.raises(ArchiveUnavailable, match="in the archive at s3://logs/x cannot be used"):
        place_of("s3://logs/x").read("manifest.json")
    assert silent_server.calls == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path, source):
    tmp_path.chmod(0o500)
    with pytest.raises(ArchiveUnavailable, match=r"cannot be used: .*Permission denied"):
        place_of(str(tmp_path / "archive")).put("a", source)


@pytest.mark.parametrize("text", ["gs://bucket/x", "s3://"])
def test_another_place_is_refused(text):
    with pytest.raises(InvalidRequest, match="give a folder, or s3://BUCKET/PREFIX"):
        place_of(text)


@pytest.mark.parametrize("option", ["", "&tls_verify_certificates=false", "&scheme=http&allow_bucket_creation=true"])
def test_an_address_of_s3_keeps_its_options(monkeypatch, option):
    address = f"s3://logs/x?endpoint_override=127.0.0.1:1&region=eu-west-1{option}"
    known, _ = fs.FileSystem.from_uri(address)
    given = []
    monkeypatch.setattr(places, "Place", lambda text, filesystem, *rest: given.append(filesystem))
    place_of(address)
    assert given == [known]
