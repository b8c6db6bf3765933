"""The lists of guards are true, so that `make mutants` has something to take out."""

from collections.abc import Iterator

from tests.mutants.__main__ import LISTS, ROOT, Mutant, read


def test_each_guard_stands_once_and_its_tests_exist() -> None:
    faults = [fault for mutant in read(LISTS) for fault in _faults(mutant)]
    assert faults == []


def test_no_two_guards_share_a_name() -> None:
    names = [one.name for one in read(LISTS)]
    assert len(set(names)) == len(names)


def _faults(mutant: Mutant) -> Iterator[str]:
    times = (ROOT / mutant.file).read_text().count(mutant.old)
    if times != 1:
        yield f"{mutant.name}: its text stands {times} times in {mutant.file}"
    for test in mutant.tests:
        path, _, name = test.partition("::")
        function = name.split("::")[-1].partition("[")[0]
        if function and f"def {function}(" not in (ROOT / path).read_text():
            yield f"{mutant.name}: there is no {test}"
