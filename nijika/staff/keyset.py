"""Lists of tables that have grown large: newest first, without counting anything.

- A page begins after a row (`before=ID`), not after so many rows, so the thousandth
  page costs what the first one does.
- Every list walks one index, which its `Walk` names: of all rows, or of one user's.
- A search that the index does not answer looks at the next `WINDOW` rows and no more.
  The page says how far back it looked, and its link to older ones goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

BEFORE = "before"
SEARCH = "q"
WINDOW = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """An index to walk: the rows of `where`, the highest of `by` first, then of `pk`.

    Without `by` the primary key alone gives the order. `answers` are the parameters of
    the page that `where` has taken in.
    """

    where: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    answers: frozenset[str] = frozenset()

    @property
    def order(self) -> list[str]:
        return [f"-{self.by}", "-pk"] if self.by else ["-pk"]

    def below(self, rows: QuerySet[Any], place: Model) -> QuerySet[Any]:
        """Those that come after this row."""
        if not self.by:
            return rows.filter(pk__lt=place.pk)
        value = getattr(place, self.by)
        # The first condition is for the index; the second splits what is equal.
        later = rows.filter(**{f"{self.by}__lte": value})
        return later.filter(Q(**{f"{self.by}__lt": value}) | Q(pk__lt=place.pk))

    def down_to(self, rows: QuerySet[Any], place: Model) -> QuerySet[Any]:
        """Those that come before this row or are it; some more with an equal `by`."""
        by = self.by or "pk"
        return rows.filter(**{f"{by}__gte": getattr(place, by)})


class OnePage(Paginator):  # type: ignore[type-arg]
    """What templates ask of a list of which nobody knows the length."""

    template_name = "staff/pagination.html"

    @property
    def count(self) -> int:
        return len(self.object_list)


class KeysetChangeList(ChangeList):  # type: ignore[misc]
    """`older` is the next page's `before`, empty on the last one. `back_to` is how far
    a search has looked, if that was not to the end."""

    older = ""
    back_to: datetime | str = ""
    before = ""
    edge: Model | None = None
    walk: Walk

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        self.before = str((found.pop(BEFORE, None) or [""])[-1])
        return found

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> QuerySet[Any]:
        asked = {name: value for name, value in self.params.items() if value}
        self.walk = self.model_admin.walk(asked)
        found = super().get_queryset(request, exclude_parameters)
        if self.query and SEARCH not in self.walk.answers:
            found = found.filter(self.model_admin.matching(self.query))
        return self._page_of(found, is_search=self._is_search(asked))

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        return self.walk.order

    def _page_of(self, found: QuerySet[Any], *, is_search: bool) -> QuerySet[Any]:
        rows = self.model.objects.filter(**self.walk.where).order_by(*self.walk.order)
        found = found.filter(**self.walk.where)
        if place := self._place():
            rows = self.walk.below(rows, place)
            found = self.walk.below(found, place)
        if is_search:
            self.edge = rows[WINDOW - 1 : WINDOW].first()
        return self.walk.down_to(found, self.edge) if self.edge else found

    def _place(self) -> Model | None:
        if not self.before:
            return None
        try:
            place: Model | None = self.model.objects.filter(pk=self.before).first()
        except (ValidationError, ValueError):
            place = None
        return place

    def _is_search(self, asked: Mapping[str, Any]) -> bool:
        return bool(set(asked) - self.walk.answers - {BEFORE, "e"})

    def get_results(self, request: HttpRequest) -> None:
        rows = list(self.queryset[: self.list_per_page + 1])
        shown = rows[: self.list_per_page]
        if len(rows) > len(shown):
            self.older = str(shown[-1].pk)
        elif self.edge is not None:
            self.older = str(self.edge.pk)
            self.back_to = getattr(self.edge, self.model_admin.time_field, "")
        self.result_list = shown
        self.result_count = self.full_result_count = len(shown)
        self.show_full_result_count, self.show_admin_actions = False, bool(shown)
        self.can_show_all = self.multi_page = False
        self.page_num, self.paginator = 1, OnePage(shown, self.list_per_page)

    @property
    def older_link(self) -> str:
        return str(self.get_query_string({BEFORE: self.older}))

    @property
    def newest_link(self) -> str:
        return str(self.get_query_string(remove=[BEFORE]))
