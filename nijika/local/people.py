"""Who can be chosen at the provider that stands in for GitHub and GitLab."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_ids = itertools.count(int(datetime.now(UTC).timestamp()) * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    address: str
    verified: bool = True
    primary: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An account at the provider. `created_at` None: the provider does not say."""

    login: str
    emails: tuple[Email, ...]
    id: int
    created_at: str | None = "2015-03-01T12:00:00Z"
    note: str = ""

    def as_github(self) -> dict[str, object]:
        """What GitHub's `/user` says; the address only if it is public, so not."""
        return {
            "login": self.login,
            "id": self.id,
            "html_url": f"https://github.com/{self.login}",
            "name": self.login.title(),
            "email": None,
            **({"created_at": self.created_at} if self.created_at else {}),
        }

    def emails_as_github(self) -> list[dict[str, object]]:
        return [
            {
                "email": one.address,
                "primary": one.primary,
                "verified": one.verified,
                "visibility": "private" if one.primary else None,
            }
            for one in self.emails
        ]

    def as_gitlab(self) -> dict[str, object]:
        """What GitLab's `/user` says: one address, and when it was confirmed."""
        primary = next((one for one in self.emails if one.primary), None)
        confirmed = bool(primary and primary.verified)
        return {
            "id": self.id,
            "username": self.login,
            "name": self.login.title(),
            "state": "active",
            "web_url": f"https://gitlab.com/{self.login}",
            "email": primary.address if primary else None,
            "confirmed_at": "2015-03-01T12:05:00.000Z" if confirmed else None,
            **({"created_at": self.created_at} if self.created_at else {}),
        }


def newcomer() -> Person:
    """Somebody whom nobody has seen before."""
    number = next(_ids)
    name = f"newcomer-{number % 100_000}"
    email = Email(address=f"{name}@example.org")
    return Person(
        login=name, emails=(email,), id=number, note="Somebody new, each time anew."
    )


def to_choose_from(local_user: str) -> list[Person]:
    """People for a developer: one who is here already, and one for each rule."""
    recently = (datetime.now(UTC) - timedelta(days=5)).isoformat(timespec="seconds")
    return [
        Person(
            login="you",
            emails=(Email(address=local_user),),
            id=1,
            note="You: the user whose API key `make run` has printed.",
        ),
        newcomer(),
        Person(
            login="yuna-young",
            emails=(Email(address="yuna@example.org"),),
            id=3,
            created_at=recently,
            note="Has been there for five days only: refused.",
        ),
        Person(
            login="una-unverified",
            emails=(Email(address="una@example.org", verified=False),),
            id=4,
            note="Has never confirmed her e-mail address: refused.",
        ),
    ]


def page(people: Sequence[Person], fields: dict[str, str], provider: str) -> str:
    """The provider's question, with a button for everybody and one for no."""
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">'
        for k, v in fields.items()
    )
    buttons = "".join(
        f'<button name="login" value="{html.escape(one.login)}">'
        f"<b>{html.escape(one.login)}</b><br>{html.escape(one.note)}</button>"
        for one in people
    )
    return _PAGE.format(provider=html.escape(provider), hidden=hidden, buttons=buttons)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stand-in for {provider}</title>
<style>
  :root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
  body {{ max-width: 30rem; margin: 8vh auto; padding: 0 1rem; }}
  form {{ display: grid; gap: .6rem; }}
  button {{ font: inherit; text-align: left; padding: .7rem 1rem; cursor: pointer;
           border: 1px solid #8888; border-radius: 10px; background: Canvas;
           color: CanvasText; }}
  button:hover {{ border-color: #6250ea; }}
</style>
<h1>Stand-in for {provider}</h1>
<p>This page is part of your own nijika, so that you can try signing in without an
application at {provider}. Who are you?</p>
<form method="post">{hidden}{buttons}
<button name="login" value="">Nobody: do not allow it</button></form>
</html>
"""
