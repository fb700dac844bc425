"""The texts in the code: every string, with "…" where an f-string puts a value."""

import ast
import re
from functools import cache

from tests.helpers.paths import ROOT

MISTAKES = ("UserError", "ConfigError")
PACKAGES = ("rmvpe", "rmvpe_torch", "rmvpe_jax", "rmvpe_ort", "convert")


def template(node: ast.expr) -> str | None:
    """The text of a string or f-string; None for another expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) or "…" for part in node.values)
    return None


@cache
def templates() -> tuple[str, ...]:
    """All strings of the packages that users install, but no docstrings."""
    found = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            texts = (template(node) for node in nodes if isinstance(node, ast.expr) and id(node) not in docstrings)
            found |= {text for text in texts if text}
    return tuple(sorted(found))


def user_messages() -> dict[str, str]:
    """Each message that is raised as a user's mistake, where it is written as a text, and its place.

    Left out are those that pass another message on: they have fewer than two words of their own.
    """
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MISTAKES and node.args:
                    text = template(node.args[0])
                    if text is not None and len(re.findall(r"[A-Za-z]{2,}", text)) >= 2:
                        found[text] = f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
    return found


def pattern_of(message: str) -> re.Pattern[str]:
    """What the words of `message`, in which "…" stands for any value, are found with in this order."""
    words = [piece.strip() for piece in message.split("…") if piece.strip(" .,:;()")]
    return re.compile(".*".join(map(re.escape, words)), re.DOTALL)


def occurs(message: str) -> bool:
    """Whether the words of `message`, in which "…" stands for any value, occur in one string in this order."""
    pattern = pattern_of(message)
    return bool(pattern.pattern) and any(pattern.search(text) for text in templates())
