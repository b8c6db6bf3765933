"""Score the cut-outs and write the page that shows them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cutout import composites, methods, page, photos, scores
from bench.cutout.photos import Case
from bench.cutout.scores import Scored, Summary

OUT = photos.ROOT / ".nijika/cutout"
HEADER = (
    "| method | photos | cases | mean IoU | alpha error | at the edge "
    "| IoU < .5 (not flagged) | IoU ≥ .8 (flagged) | CPU s |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    arguments = _parser().parse_args()
    cases = _cases(arguments)
    names = [name for name in arguments.methods.split(",") if name]
    scored: dict[str, list[Scored]] = {name: [] for name in names}
    for case in cases:
        for name in names:
            scored[name].append(methods.run(name, case))
        print(_line(case, [scored[name][-1] for name in names]), flush=True)
    table = "\n".join([HEADER, *_rows(scored)])
    print(f"\n{table}")
    if "classical" in scored:
        print(f"\n{page.write(arguments.out, table, cases, scored)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.cutout", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder with a MANIFEST.json")
    parser.add_argument(
        "--photos", type=Path, help="a folder of photos, each with <name>.alpha.png"
    )
    parser.add_argument("--composites", type=int, default=composites.COUNT)
    parser.add_argument("--methods", default="classical,rectangle")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser


def _cases(arguments: argparse.Namespace) -> list[Case]:
    """The photos, of the given folder where it has them, then composites of them."""
    found = {case.name: case for case in photos.own()}
    if arguments.data:
        found |= {case.name: case for case in photos.listed(arguments.data)}
    known = list(found.values())
    more = photos.pairs(arguments.photos, "added") if arguments.photos else []
    mixed = composites.made(known, arguments.composites)
    products = composites.studio(known) + composites.sweep(known)
    return known + more + mixed + products


def _line(case: Case, scored: Sequence[Scored]) -> str:
    told = "  ".join(f"{one.score.iou:.3f} {one.score.error:.4f}" for one in scored)
    return f"{case.name:28} {told}  {scored[0].details}"


def _rows(scored: dict[str, list[Scored]]) -> Iterator[str]:
    for method, results in scored.items():
        for group in sorted({one.group for one in results}):
            chosen = [one for one in results if one.group == group]
            yield _row(method, group, scores.summary(chosen))
        yield _row(method, "all", scores.summary(results))


def _row(method: str, group: str, one: Summary) -> str:
    return (
        f"| {method} | {group} | {one.cases} | {one.iou:.3f} | {one.error:.4f} "
        f"| {one.edge_error:.3f} | {one.failures} ({one.unflagged}) "
        f"| {one.good} ({one.flagged}) | {one.cpu_seconds:.1f} |"
    )


if __name__ == "__main__":
    main()
