"""The mutants of the package: which changes mutation testing makes to it, and which it leaves out.

cosmic-ray changes operators, conditions, numbers, loops, decorators and exceptions. This code consists of
calls, assignments and names more than of these, so there are three operators of our own.
"""

import ast
import builtins
import difflib
import typing

import parso
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

# cosmic-ray replaces each operator by each other one. Nearly all of that is the same TypeError again, so of
# the comparisons we take the opposite and the neighbour, and of the others one.
COMPARISONS = {"Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt"}
COMPARISONS |= {"Lt_GtE", "GtE_Lt", "LtE_Gt", "Gt_LtE"}
BINARY = {"Add_Sub", "Sub_Add", "Mul_Add", "Mod_Add", "BitOr_BitAnd", "BitAnd_BitOr"}


def leaf(node, text):
    """Return `text` for the place of `node`."""
    return parso.python.tree.Name(text, node.start_pos, node.get_first_leaf().prefix)


class Replacing(Operator):
    """Replaces all nodes that `becomes` knows a text for."""

    def becomes(self, node):
        raise NotImplementedError

    def mutation_positions(self, node):
        if self.becomes(node) is not None:
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        return leaf(node, self.becomes(node))

    @classmethod
    def examples(cls):
        return ()


class RemoveStatement(Replacing):
    def becomes(self, node):
        if node.parent is None or node.parent.type != "simple_stmt" or node is not node.parent.children[0]:
            return None
        if node.type == "return_stmt":
            return "return None"
        # Docstrings are for readers, and an import that is missing is a NameError.
        return None if node.type in ("string", "strings", "newline", "import_name", "import_from") else "pass"


class EmptyString(Replacing):
    def becomes(self, node):
        if node.type not in ("string", "strings") or node.parent.type == "strings":
            return None
        return '"mutant"' if len(node.get_code().strip()) == 2 else '""'


class NoArgument(Replacing):
    def becomes(self, node):
        if node.type in ("operator", "argument", "arglist", "string", "strings") or node.parent is None:
            return None
        outer = node.parent
        if outer.type == "argument":
            # The value of a keyword argument, not its name, and not what follows a star.
            if outer.children[1] != "=" or node is not outer.children[2]:
                return None
            outer = outer.parent
        call = outer.parent if outer.type == "arglist" else outer
        if call.type != "trailer" or call.children[0] != "(":
            return None
        # For builtins None is a TypeError, such as in len(None).
        return None if hasattr(builtins, call.parent.children[0].get_code().strip()) else "None"


class Provider(dict):
    """Gives cosmic-ray our operators. In place of an entry point: that would take a package to install."""

    def __init__(self):
        super().__init__((operator.__name__, operator) for operator in (RemoveStatement, EmptyString, NoArgument))


plugins.OPERATOR_PROVIDERS["own"] = Provider()


def operators():
    for name in plugins.operator_names():
        kind, _, change = name.split("/")[1].partition("Operator_")
        if kind == "ReplaceComparison" and change not in COMPARISONS:
            continue
        if kind == "ReplaceBinary" and change not in BINARY:
            continue
        operator = plugins.get_operator(name)
        if not operator.arguments():
            yield name, operator()


class _Meaning(ast.NodeTransformer):
    """Leaves of a module what has a meaning when it runs, and is for the tests to tell."""

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_FunctionDef(self, node):
        node.returns = None
        return self.without_docstring(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def without_docstring(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        return node

    visit_ClassDef = visit_Module = without_docstring

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_Assign(self, node):
        self.generic_visit(node)
        # A name for a type stands in annotations only.
        value = getattr(getattr(node.value, "value", None), "value", None)
        if isinstance(node.value, ast.Subscript) and getattr(value, "id", None) == "typing":
            return None
        # The fingerprints: a release touches one row of some twenty. scripts/fingerprints --check covers all.
        if getattr(node.targets[0], "id", None) == "TARGETS":
            return None
        return node


def meaning(source):
    return ast.dump(_Meaning().visit(ast.parse(source)))


class Mutant(typing.NamedTuple):
    module: str
    # The function or class that the change is in.
    scope: str
    line: str
    becomes: str
    operator: str
    occurrence: int


def scope_of(tree, line):
    found = []
    while True:
        for node in ast.iter_child_nodes(tree):
            if node.__class__.__name__.endswith("Def") and node.lineno <= line <= node.end_lineno:
                found.append(node.name)
            elif not (hasattr(node, "lineno") and node.lineno <= line <= node.end_lineno):
                continue
            tree = node
            break
        else:
            return ".".join(found)


def changed_lines(before, after):
    """Return the text that was changed, and what it became, without indentation."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return tuple(" ".join(line[2:].strip() for line in lines if line.startswith(mark)) for mark in "-+")


def mutants(module, source):
    """Return the mutants of `module`: those that compile, differ in meaning, and differ from each other."""
    known, found = {meaning(source)}, []
    tree, nodes = ast.parse(source), list(ast_nodes(get_ast(source)))
    for name, operator in operators():
        positions = [position for node in nodes for position in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(positions):
            mutated = mutate_code(source, operator, occurrence)
            try:
                compile(mutated, module, "exec")
                said = meaning(mutated)
            except SyntaxError:
                continue
            if said not in known:
                known.add(said)
                changed = changed_lines(source, mutated)
                found.append((line, Mutant(module, scope_of(tree, line), *changed, name, occurrence)))
    return [mutant for _, mutant in sorted(found, key=lambda pair: pair[0])]
