# Another way than the gold solution: where there is an array of tables without elements, a copy of the document is
# rendered, in which such an array is an ordinary array at the beginning of the table that it belongs to.
python - <<'PYTHON'
from pathlib import Path

path = Path("tomlkit/container.py")
text = path.read_text()


def replace(old, new):
    global text
    assert text.count(old) == 1, old
    text = text.replace(old, new)


replace(
    '''\
        """Render as TOML string."""
        s = ""
        for k, v in self._body:
''',
    '''\
        """Render as TOML string."""
        body = self._body
        if _has_empty_aot(body):
            body = _with_empty_arrays(copy.deepcopy(body))
        s = ""
        for k, v in body:
''',
)
replace(
    "class Container(_CustomDict):  # type: ignore[type-arg]\n",
    '''\
_Body = list[tuple[Optional[Key], Item]]


def _has_empty_aot(body: _Body) -> bool:
    for _, v in body:
        if isinstance(v, AoT):
            if not v.body or any(_has_empty_aot(t.value.body) for t in v.body):
                return True
        elif isinstance(v, Table) and _has_empty_aot(v.value.body):
            return True
    return False


def _with_empty_arrays(body: _Body) -> _Body:
    tables: dict[tuple[str, ...], list[tuple[Key, Table]]] = {}
    empty: list[tuple[tuple[str, ...], Key]] = []

    def walk(body: _Body, path: tuple[str, ...]) -> None:
        for k, v in body:
            if isinstance(v, AoT):
                for element in v.body:
                    inner = element.value.body
                    inner[:] = _with_empty_arrays(inner)
                if not v.body:
                    empty.append((path, k))
            elif isinstance(v, Table):
                here = (*path, k.key)
                tables.setdefault(here, []).append((k, v))
                walk(v.value.body, here)

    walk(body, ())
    for path, key in empty:
        array = _item([])
        array.trivia.trail = "\\n"
        if not path:
            body.insert(0, (SingleKey(key.key), array))
            continue
        k, table = _home(tables[path])
        table.value.body.insert(0, (SingleKey(key.key), array))
        if not k.is_dotted():
            if table.is_super_table():
                table._is_aot_element = False
            table._is_super_table = False
            if "\\n" not in table.trivia.trail:
                table.trivia.trail += "\\n"
    return body


def _home(fragments: list[tuple[Key, Table]]) -> tuple[Key, Table]:
    """The fragment of a table in which a value can stand."""
    for k, table in fragments:
        if not table.is_super_table():
            return k, table
    for k, table in fragments:
        for child_key, child in table.value.body:
            if isinstance(child, (AoT, Whitespace, Null)):
                continue
            if not isinstance(child, Table) or child_key.is_dotted():
                return k, table
    return fragments[0]


class Container(_CustomDict):  # type: ignore[type-arg]
''',
)
replace("from typing import Any\n", "from typing import Any\nfrom typing import Optional\n")
path.write_text(text)
PYTHON
