"""A store in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from jobs.errors import FileMissing, StorageUnavailable
from jobs.stores.base import StoredFile, checked

# A message may lie in the broker and a run may take its time; a presigned location is
# made anew with every dispatch and every grant.
LOCATION_LIFETIME = timedelta(hours=6)
# A redirect is followed at once.
DOWNLOAD_LIFETIME = timedelta(minutes=5)
DELETE_AT_ONCE = 1000  # S3's own limit


class S3Store:
    """A bucket, or a folder of one. Credentials are the usual AWS_* variables."""

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str,
        endpoint: str,
        public_endpoint: str,
        region: str,
    ) -> None:
        self._bucket = bucket
        self._root = f"{prefix}/" if prefix else ""
        self._client = _s3_client(endpoint, region)
        # A signature covers the host, so links for browsers are signed for theirs.
        self._public_client = (
            self._client
            if public_endpoint == endpoint
            else _s3_client(public_endpoint, region)
        )

    def write(
        self, key: str, content: bytes | BinaryIO, *, durable: bool = True
    ) -> None:
        with _s3_errors():
            self._client.put_object(**self._object(key), Body=content)

    def open(self, key: str) -> BinaryIO:
        with _s3_errors():
            body = self._client.get_object(**self._object(key))["Body"]
        return cast(BinaryIO, body)

    def copy(self, source: str, target: str) -> None:
        with _s3_errors():
            self._client.copy_object(
                **self._object(target), CopySource=self._object(source)
            )

    def path(self, key: str) -> Path | None:
        checked(key)
        return None

    def delete(self, key: str) -> None:
        self._delete([checked(key)])

    def delete_prefix(self, prefix: str) -> None:
        folder = checked(prefix.removesuffix("/"))
        batch: list[str] = []
        for file in self.list(folder):
            batch.append(file.key)
            if len(batch) == DELETE_AT_ONCE:
                self._delete(batch)
                batch = []
        if batch:
            self._delete(batch)

    def _delete(self, keys: list[str]) -> None:
        objects = [{"Key": self._root + key} for key in keys]
        with _s3_errors():
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
            )
        if answer.get("Errors"):
            raise StorageUnavailable

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        folder = f"{checked(prefix.removesuffix('/'))}/" if prefix else ""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._root + folder
        )
        with _s3_errors():
            for page in pages:
                for found in page.get("Contents", ()):
                    yield StoredFile(
                        key=found["Key"].removeprefix(self._root),
                        size_bytes=found["Size"],
                        modified_at=found["LastModified"],
                    )

    def read_location(self, key: str) -> str:
        return self._presigned("get_object", self._object(key))

    def write_location(self, key: str) -> str:
        return self._presigned("put_object", self._object(key))

    def download_url(
        self,
        key: str,
        *,
        filename: str,
        content_type: str,
        disposition: str = "attachment",
        cache_control: str = "private",
    ) -> str | None:
        wanted = self._object(key) | {
            "ResponseContentDisposition": f'{disposition}; filename="{filename}"',
            "ResponseContentType": content_type,
            "ResponseCacheControl": cache_control,
        }
        with _s3_errors():
            url: str = self._public_client.generate_presigned_url(
                "get_object",
                Params=wanted,
                ExpiresIn=int(DOWNLOAD_LIFETIME.total_seconds()),
            )
        return url

    def upload_url(
        self, key: str, *, content_type: str, size_bytes: int, lifetime: timedelta
    ) -> str | None:
        # What is given here is signed, so the store refuses anything else.
        wanted = {"ContentType": content_type, "ContentLength": size_bytes}
        with _s3_errors():
            url: str = self._public_client.generate_presigned_url(
                "put_object",
                Params=self._object(key) | wanted,
                ExpiresIn=int(lifetime.total_seconds()),
            )
        return url

    def healthy(self) -> bool:
        try:
            with _s3_errors():
                self._client.head_bucket(Bucket=self._bucket)
        except (StorageUnavailable, FileMissing):
            return False
        return True

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._root + checked(key)}

    def _presigned(self, method: str, wanted: dict[str, str]) -> str:
        with _s3_errors():
            url: str = self._client.generate_presigned_url(
                method,
                Params=wanted,
                ExpiresIn=int(LOCATION_LIFETIME.total_seconds()),
            )
        return url


def _s3_client(endpoint: str, region: str) -> Any:
    config = Config(
        signature_version="s3v4",
        connect_timeout=3,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=32,
        # Not every store that speaks S3 knows the newer trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    return boto3.session.Session().client(
        "s3", endpoint_url=endpoint or None, region_name=region, config=config
    )


@contextmanager
def _s3_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404", "NotFound"}:
            raise FileMissing from None
        raise StorageUnavailable from error
    except BotoCoreError as error:
        raise StorageUnavailable from error
