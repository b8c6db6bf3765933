"""One set of promises, kept by a folder and by a real S3 server."""

import io
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs import storage
from jobs.errors import FileMissing, StorageUnavailable
from jobs.storage import LocalStore, S3Store, Store
from tests import s3


@pytest.fixture(scope="module")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket").mkdir()
    with s3.serve(folder) as endpoint:
        yield endpoint


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET_KEY)


def make_s3(endpoint: str, prefix: str = "", bucket: str = "bucket") -> S3Store:
    return S3Store(
        bucket=bucket,
        prefix=prefix,
        endpoint=endpoint,
        public_endpoint=endpoint,
        region="us-east-1",
    )


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, aws: None) -> Store:
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    return make_s3(request.getfixturevalue("s3_endpoint"), prefix=tmp_path.name)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [file.key for file in store.list(prefix)]


def read(store: Store, key: str) -> bytes:
    with store.open(key) as file:
        return file.read()


def test_copy_outlives_its_source(store: Store) -> None:
    store.write("a/1", b"bytes")
    store.copy("a/1", "b/c/2")
    store.delete_prefix("a")
    assert read(store, "b/c/2") == b"bytes"
    assert keys(store) == ["b/c/2"]


def test_copy_of_what_is_not_there_leaves_nothing(store: Store) -> None:
    with pytest.raises(FileMissing):
        store.copy("a/1", "b/2")
    assert keys(store) == []


@pytest.mark.parametrize("content", [b"bytes", b"", b"x" * 3_000_000])
def test_write_then_open_gives_the_same_bytes(store: Store, content: bytes) -> None:
    store.write("inputs/j/0", content)
    assert read(store, "inputs/j/0") == content


def test_write_of_a_file_reads_it_to_its_end(store: Store) -> None:
    store.write("inputs/j/0", io.BytesIO(b"from a file"))
    assert read(store, "inputs/j/0") == b"from a file"


def test_write_of_a_known_key_replaces_the_file(store: Store) -> None:
    store.write("k/0", b"old and longer")
    store.write("k/0", b"new")
    assert read(store, "k/0") == b"new"
    assert keys(store) == ["k/0"]


def test_open_of_nothing_raises_file_missing(store: Store) -> None:
    store.write("a/b", b"")
    for key in ("a/c", "none/at/all", "a"):
        with pytest.raises(FileMissing):
            store.open(key)


def test_list_gives_sizes_and_times_below_a_folder_only(store: Store) -> None:
    for key in ("inputs/1/0", "inputs/12/0", "results/1/1-x/0"):
        store.write(key, b"123")
    (file,) = store.list("inputs/1/")
    assert (file.key, file.size_bytes) == ("inputs/1/0", 3)
    assert datetime.now(UTC) - file.modified_at < timedelta(minutes=1)
    assert keys(store, "inputs") == ["inputs/1/0", "inputs/12/0"]
    assert keys(store, "inputs/none") == []


@pytest.mark.parametrize("prefix", ["inputs/1", "inputs/1/"])
def test_delete_prefix_spares_names_that_begin_alike(store: Store, prefix: str) -> None:
    for key in ("inputs/1/0", "inputs/1/a/1", "inputs/12/0"):
        store.write(key, b"")
    store.delete_prefix(prefix)
    store.delete_prefix(prefix)
    assert keys(store) == ["inputs/12/0"]


def test_delete_removes_one_file_and_repeats_do_nothing(store: Store) -> None:
    for key in ("a/1", "a/12"):
        store.write(key, b"", durable=False)
    store.delete("a/1")
    store.delete("a/1")
    store.delete("none/at/all")
    assert keys(store) == ["a/12"]


BAD_KEYS = [
    "", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "a//b", "a/", "./a", "a/.",
    "a\\b", "a b", "a\n", "a\0b", "ä", "a?b", "a%2fb", "a" * 600,
]  # fmt: skip


@pytest.mark.parametrize("key", BAD_KEYS)
def test_key_outside_the_store_is_refused(store: Store, key: str) -> None:
    calls = [store.open, store.path, store.read_location, store.write_location]
    for call in calls:
        with pytest.raises(ValueError, match="not a key"):
            call(key)
    with pytest.raises(ValueError, match="not a key"):
        store.write(key, b"")
    if key != "a/":  # a folder may end in a slash
        with pytest.raises(ValueError, match="not a key"):
            store.delete_prefix(key)


def test_healthy_store_says_so_and_leaves_nothing(store: Store) -> None:
    store.write("a/b", b"")
    assert store.healthy()
    assert keys(store) == ["a/b"]


def put(url: str, content: bytes) -> None:
    request = urllib.request.Request(url, data=content, method="PUT")
    urllib.request.urlopen(request, timeout=5).close()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())


def refusal(url: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=5)
    refused.value.close()
    return refused.value.code


def test_local_locations_are_file_urls_of_the_same_path(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "with space")
    store.write("a/b", b"12")
    location = store.read_location("a/b")
    assert location.startswith("file:///") and "%20" in location
    path = Path(urllib.parse.unquote(location.removeprefix("file://")))
    assert path == store.path("a/b") and path.read_bytes() == b"12"
    assert store.write_location("a/b") == location
    assert store.download_url("a/b", filename="b.png", content_type="image/png") is None


def test_local_write_is_never_seen_half(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/b", b"before")
    seen = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            seen.append(read(store, "a/b"))
            return super().read(size)

    store.write("a/b", Slow(b"after"))

    assert set(seen) == {b"before"}
    assert read(store, "a/b") == b"after"


def test_local_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise RuntimeError

    store = LocalStore(tmp_path)
    with pytest.raises(RuntimeError):
        store.write("a/b", Broken())
    assert keys(store) == []


def test_local_files_are_private(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/b", b"")
    assert store.path("a/b").stat().st_mode & 0o077 == 0


def test_local_store_without_its_disk_is_unavailable(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("a file in the way")
    with pytest.raises(StorageUnavailable):
        store.write("a/b", b"")
    assert not store.healthy()


def test_s3_locations_carry_the_permission_for_one_key(
    s3_endpoint: str, aws: None
) -> None:
    store = make_s3(s3_endpoint, prefix="deep/er")
    put(store.write_location("r/1/0"), b"by a worker")
    assert read(store, "r/1/0") == b"by a worker"
    location = store.read_location("r/1/0")
    assert get(location) == b"by a worker"
    assert refusal(location.replace("/r/1/0", "/r/2/0")) == 403
    assert refusal(location.split("?")[0]) in {400, 403}  # rclone says 400


def test_s3_download_url_is_presigned(s3_endpoint: str, aws: None) -> None:
    store = make_s3(s3_endpoint)
    store.write("r/0", b"bytes")
    url = store.download_url("r/0", filename="cutout.png", content_type="image/png")
    assert url is not None and get(url) == b"bytes"
    assert "X-Amz-Expires=300" in url


def test_s3_deletes_more_than_one_page(
    s3_endpoint: str, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.stores.s3.DELETE_AT_ONCE", 3)
    store = make_s3(s3_endpoint, prefix="pages")
    for number in range(7):
        store.write(f"x/{number}", b"")
    store.delete_prefix("x")
    assert keys(store) == []


def test_s3_without_a_server_is_unavailable(aws: None) -> None:
    store = make_s3("http://127.0.0.1:9")
    with pytest.raises(StorageUnavailable):
        store.open("a/b")
    assert not store.healthy()


def test_s3_with_the_wrong_secret_is_unavailable(
    s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, aws: None
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    store = make_s3(s3_endpoint)
    with pytest.raises(StorageUnavailable):
        store.write("a/b", b"")
    assert not store.healthy()


def test_settings_choose_the_store(settings: object, tmp_path: Path, aws: None) -> None:
    settings.STORAGE_URL = f"file://{tmp_path}/s"
    assert isinstance(storage.store(), LocalStore)
    settings.STORAGE_URL = "s3://bucket/some/prefix"
    assert isinstance(storage.store(), S3Store)
    settings.STORAGE_URL = "ftp://elsewhere"
    with pytest.raises(ValueError, match="NIJIKA_STORAGE_URL"):
        storage.store()


def test_folder_that_is_away_is_trouble_for_files_and_not_for_locations(
    tmp_path: Path,
) -> None:
    root = tmp_path / "disk"
    root.write_text("no folder: the disk is not mounted")
    store = LocalStore(root)
    assert store.read_location("inputs/1/0") == f"file://{root}/inputs/1/0"
    with pytest.raises(StorageUnavailable):
        store.write("inputs/1/0", b"x")
    assert not store.healthy()
    root.unlink()
    store.write("inputs/1/0", b"x")
