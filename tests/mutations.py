"""Which small changes are made to a function, node by node of its syntax tree.

Each stands for a kind of wrong answer: another axis, a sign, a bound, the first row
only, an argument that is not used or was right for the first model alone. Changes that
give the same numbers in another kind, such as leaving out `.item()`, are not made.
"""

import ast
import copy
from collections.abc import Iterator

__all__ = ["FIRST", "changes_of"]

FIRST = "first_value"  # in a mutant: what this expression was when it was first asked
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OTHER_NAME = {
    "mean": "sum",
    "sum": "mean",
    "max": "min",
    "min": "max",
    "amax": "amin",
    "amin": "amax",
    "argmax": "argmin",
    "argmin": "argmax",
    "any": "all",
    "all": "any",
    "triu": "tril",
    "tril": "triu",
    "softmax": "log_softmax",
    "log_softmax": "softmax",
    "zeros": "ones",
    "ones": "zeros",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "log": "log2",
    "floor": "ceil",
    "ceil": "floor",
}
# Without these a result is of another kind and holds the same numbers.
KIND_ONLY = {"item", "tolist", "float", "int", "list", "tuple", "dict", "bool"}
MODULES = {"torch", "math", "einops", "np", "F"}


def _changed(node: ast.AST, **fields) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _parsed(text: str, **parts: ast.AST) -> ast.expr:
    """An expression in which names are replaced by nodes."""
    tree = ast.parse(text, mode="eval")

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node):
            return parts.get(node.id, node)

    return Fill().visit(tree).body


def changes_of(definition: ast.stmt) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Pairs of a node of the definition and what may stand in its place."""
    return _Changes().visit(definition)


class _Changes:
    """The changes to one definition, as pairs of a node and what may stand there."""

    def __init__(self):
        self.arguments: dict[str, str] = {}
        self.bound: set[str] = set()
        # Nodes that stand as an index, as an axis, that only give their first entry, or
        # that are only asked for a size.
        self.in_index: set[int] = set()
        self.axes: set[int] = set()
        self.first_taken: set[int] = set()
        self.asked_size: set[int] = set()

    def visit(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        if isinstance(node, ast.Raise):
            return
        kind = type(node).__name__.lower()
        yield from getattr(self, f"of_{kind}", self.of_nothing)(node)
        for child in self.children(node):
            yield from self.visit(child)

    def children(self, node: ast.AST) -> Iterator[ast.AST]:
        if isinstance(node, ast.arguments):
            yield from (d for d in node.defaults + node.kw_defaults if d)
            return
        if isinstance(node, ast.FunctionDef):
            yield node.args
            body = node.body[ast.get_docstring(node) is not None :]
            yield from body
            return
        if isinstance(node, ast.keyword) and node.arg == "strict":
            return  # of zip: it makes a wrong length an error and no other result
        if isinstance(node, ast.JoinedStr):
            # Its text is left alone: a hook with another name is an error.
            parts = node.values
            yield from (p.value for p in parts if isinstance(p, ast.FormattedValue))
            return
        yield from ast.iter_child_nodes(node)

    def of_nothing(self, node):
        return iter(())

    def of_functiondef(self, node):
        for argument in node.args.args + node.args.kwonlyargs:
            hint = ast.unparse(argument.annotation) if argument.annotation else ""
            self.arguments[argument.arg] = hint
            self.bound.add(argument.arg)
        return iter(())

    # --- values -----------------------------------------------------------------------

    def of_constant(self, node):
        value = node.value
        if isinstance(value, bool):
            yield node, ast.Constant(not value)
        elif id(node) in self.axes:
            # One way only: on few axes the other way comes to the same one.
            yield node, ast.Constant(value + 1)
            if value > 1:
                yield node, ast.Constant(value - 1)
        elif isinstance(value, int):
            yield node, ast.Constant(value + 1)
            yield node, ast.Constant(value - 1)
        elif isinstance(value, float):
            yield node, ast.Constant(1.5 * value if value else 1.0)
        elif isinstance(value, str) and "->" in value:
            yield from ((node, ast.Constant(text)) for text in _other_axes(value))
        elif isinstance(value, str) and value:
            yield node, ast.Constant("")

    def of_name(self, node):
        if not isinstance(node.ctx, ast.Load):
            return
        index = id(node) in self.in_index
        if node.id not in self.arguments:
            if index and not node.id.isupper():
                yield node, ast.Constant(0)
            if node.id.isupper() and len(node.id) > 1 and not node.id.startswith("W_"):
                yield node, _parsed("x + 1", x=node)
            return
        hint = self.arguments[node.id]
        if not hint:
            return
        others = [n for n, h in self.arguments.items() if h == hint and n != node.id]
        yield from ((node, ast.Name(name, ast.Load())) for name in others)
        if id(node) in self.asked_size:
            return
        yield node, _parsed(f"{FIRST}(x)", x=node)
        if hint.startswith("int"):
            values = [0, 1, -1] if index else [0, 1]
        elif hint.startswith("float"):
            values = [0.0, 1.0]
        elif hint == "bool":
            values = [False, True]
        elif "Tensor" in hint and not hint.startswith(("dict", "list", "tuple")):
            if id(node) not in self.first_taken:
                yield node, _parsed("x[:1]", x=node)
            return
        elif hint.startswith(("list", "tuple")):
            for text in ("x[:1]", "x[1:]", "x[::-1]"):
                yield node, _parsed(text, x=node)
            return
        else:
            return
        yield from ((node, ast.Constant(value)) for value in values)

    def of_attribute(self, node):
        owner = node.value
        if node.attr in ("shape", "cfg"):
            self.asked_size.add(id(owner))
        if node.attr == "inf":
            yield node, ast.Constant(30.0)
        elif node.attr in ("T", "mT", "H", "mH", "real"):
            yield node, owner
        elif isinstance(owner, ast.Attribute) and owner.attr == "cfg":
            yield node, _parsed(f"{FIRST}(x)", x=node)

    # --- operators --------------------------------------------------------------------

    def of_binop(self, node):
        swapped = _changed(node, left=node.right, right=node.left)
        if type(node.op) in OPERATORS:
            yield node, _changed(node, op=OPERATORS[type(node.op)]())
        elif isinstance(node.op, ast.MatMult):
            yield node, swapped
        yield node, node.left
        yield node, node.right
        if isinstance(node.op, ast.Sub | ast.Div):
            yield node, swapped

    def of_unaryop(self, node):
        if id(node) in self.axes:
            self.axes.add(id(node.operand))
        else:
            yield node, node.operand

    def of_boolop(self, node):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield node, _changed(node, op=other())
        for i in range(len(node.values)):
            left = node.values[:i] + node.values[i + 1 :]
            yield node, left[0] if len(left) == 1 else _changed(node, values=left)

    def of_compare(self, node):
        for i, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                ops = [*node.ops[:i], other(), *node.ops[i + 1 :]]
                yield node, _changed(node, ops=ops)

    # --- places -----------------------------------------------------------------------

    def of_subscript(self, node):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        self.in_index |= {id(part) for part in parts}
        if isinstance(parts[0], ast.Constant) and parts[0].value == 0:
            self.first_taken.add(id(node.value))
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            yield node, _parsed(f"{FIRST}(x)", x=node)
        for part in parts:
            if isinstance(part, ast.Slice):
                for name in ("lower", "upper", "step"):
                    if getattr(part, name) is not None:
                        yield part, _changed(part, **{name: None})

    def of_list(self, node):
        yield from self._of_several(node)

    def of_tuple(self, node):
        if isinstance(node.ctx, ast.Load) and not any(
            isinstance(part, ast.Slice) or id(part) in self.in_index
            for part in node.elts
        ):
            yield from self._of_several(node)

    def _of_several(self, node):
        parts = node.elts
        if not isinstance(node.ctx, ast.Load) or len(parts) < 2:
            return
        for i in range(len(parts)):
            yield node, _changed(node, elts=parts[:i] + parts[i + 1 :])
        if any(id(part) in self.axes for part in parts):
            return  # the order of axes that are summed over does not count
        for i in range(len(parts) - 1):
            order = [*parts[:i], parts[i + 1], parts[i], *parts[i + 2 :]]
            yield node, _changed(node, elts=order)

    # --- calls ------------------------------------------------------------------------

    def of_call(self, node):
        called = node.func
        for word in node.keywords:
            if word.arg == "dim":
                parts = getattr(word.value, "elts", [word.value])
                self.axes |= {id(part) for part in parts}
        for i in range(len(node.keywords)):
            if node.keywords[i].arg == "strict":
                continue
            left = node.keywords[:i] + node.keywords[i + 1 :]
            yield node, _changed(node, keywords=left)
        name = getattr(called, "attr", getattr(called, "id", ""))
        if isinstance(called, ast.Attribute):
            owner = called.value
            of_module = isinstance(owner, ast.Name) and owner.id in MODULES
            of_module = (
                of_module
                or isinstance(owner, ast.Attribute)
                and (getattr(owner.value, "id", "") in MODULES)
            )
            if name in OTHER_NAME:
                other = _changed(called, attr=OTHER_NAME[name])
                yield node, _changed(node, func=other)
            if not of_module and name not in KIND_ONLY:
                yield node, owner
        else:
            of_module = True
            if name in ("min", "max", "any", "all"):
                other = _changed(called, id=OTHER_NAME[name])
                yield node, _changed(node, func=other)
            if name == "len":
                yield node, _parsed(f"{FIRST}(x)", x=node)
        builtin = name in ("abs", "sorted", "set", "reversed")
        if len(node.args) == 1 and not node.keywords and name not in KIND_ONLY:
            if builtin or isinstance(called, ast.Attribute) and of_module:
                yield node, node.args[0]

    # --- statements -------------------------------------------------------------------

    def of_if(self, node):
        yield node.test, ast.Constant(True)
        yield node.test, ast.Constant(False)

    def of_ifexp(self, node):
        yield node, node.body
        yield node, node.orelse

    def of_while(self, node):
        yield node.test, ast.Constant(False)

    def of_comprehension(self, node):
        for condition in node.ifs:
            yield condition, ast.Constant(True)
        yield from self._of_loop(node)

    def of_for(self, node):
        yield from self._of_loop(node)

    def _of_loop(self, node):
        texts = ["[*x][:1]", "[*x][1:]", "[*x][:-1]"]
        # The order of a loop's turns seldom counts, that of what it makes does.
        texts += ["[*x][::-1]"] * isinstance(node, ast.comprehension)
        for text in texts:
            yield node.iter, _parsed(text, x=node.iter)

    def of_assign(self, node):
        target = node.targets[0]
        name = getattr(target, "id", None)
        again = name is not None and name in self.bound
        if again or isinstance(target, ast.Subscript):
            yield node, ast.Pass()
        if name is not None:
            self.bound.add(name)

    def of_augassign(self, node):
        yield node, ast.Pass()
        if type(node.op) in OPERATORS:
            yield node, _changed(node, op=OPERATORS[type(node.op)]())
        yield node, ast.Assign([node.target], node.value)

    def of_expr(self, node):
        if isinstance(node.value, ast.Call):
            yield node, ast.Pass()


def _other_axes(pattern: str) -> Iterator[str]:
    """An einsum or rearrange pattern with two neighbouring axes in each other's place.

    On either side of the arrow, within one tensor's names.
    """
    words = pattern.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split()
    for i in range(len(words) - 1):
        one, two = words[i : i + 2]
        if one not in "(),->" and two not in "(),->":
            order = [*words[:i], two, one, *words[i + 2 :]]
            yield (
                " ".join(order).replace("( ", "(").replace(" )", ")").replace(" ,", ",")
            )
