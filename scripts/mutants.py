"""Print what cosmic-ray would change in some files, a line of JSON for each mutant.

    python scripts/mutants.py --each 3 --seed 0 FILE...

Runs where cosmic-ray is installed; `scripts/mutate_code` installs it apart from all else. In each
file some places are chosen, at random but the same for a seed, and at each of them one operator.
What only changes annotations, which nothing evaluates, is no mutant.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code


def places(source: str) -> dict[tuple[Any, Any], list[tuple[str, int]]]:
    """A place in the code that can be changed, and the occurrences of operators that change it."""
    found = defaultdict(list)
    tree = get_ast(source)
    for name in sorted(cosmic_ray.plugins.operator_names()):
        kind = cosmic_ray.plugins.get_operator(name)
        if kind.arguments():  # those of variables, which need to be told which
            continue
        occurrence = 0
        for node in ast_nodes(tree):
            for position in kind().mutation_positions(node):
                found[position[:2]].append((name, occurrence))
                occurrence += 1
    return found


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def meaning(source: str) -> str:
    """A key that two sources share if and only if they mean the same."""
    return ast.dump(_WithoutAnnotations().visit(ast.parse(source)))


def mutants(source: str, each: int, rng: random.Random) -> list[dict[str, Any]]:
    """At most so many mutants of a source, each at another place."""
    found, original = places(source), meaning(source)
    chosen: list[dict[str, Any]] = []
    for place in rng.sample(sorted(found), len(found)):
        operator, occurrence = rng.choice(found[place])
        mutated = mutate_code(source, cosmic_ray.plugins.get_operator(operator)(), occurrence)
        try:
            if mutated is None or meaning(mutated) == original:
                continue
        except SyntaxError:  # the ** of arguments is no operator
            continue
        lines = source.splitlines(), mutated.splitlines()
        line = next(i for i, (a, b) in enumerate(zip(*lines, strict=False)) if a != b)
        line = max(line, place[0][0] - 1)  # lines before it may be blank
        was, becomes = (text[line].strip() for text in lines)
        about = {"operator": operator.partition("/")[2], "line": line + 1}
        chosen.append(about | {"was": was, "becomes": becomes, "source": mutated})
        if len(chosen) == each:
            break
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for file in options.files:
        source = Path(file).read_text(encoding="utf-8")
        for mutant in mutants(source, options.each, random.Random(f"{options.seed} {file}")):
            print(json.dumps({"file": file} | mutant))


if __name__ == "__main__":
    main()
