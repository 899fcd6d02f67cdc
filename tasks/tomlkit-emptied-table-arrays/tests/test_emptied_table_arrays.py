"""What is written holds the same data as the document, also where arrays of tables have no elements."""

import random
import tomllib

import pytest
import tomlkit
from tomlkit.items import AoT

DOCUMENTS = {
    "alone": "[[a]]\nx = 1\n",
    "without_content": "[[a]]\n",
    "without_final_newline": "[[a]]\nx = 1",
    "two_elements": "[[a]]\nx = 1\n\n[[a]]\nx = 2\n",
    "after_values": "v = 9\nw = 8\n\n[[a]]\nx = 1\n",
    "after_a_table": "[t]\nq = 2\n\n[[a]]\nx = 1\n",
    "before_a_table": "[[a]]\nx = 1\n\n[t]\nq = 2\n",
    "between_tables": "v = 1\n\n[t]\nq = 2\n\n[[a]]\nx = 1\n\n[u]\nr = 3\n",
    "two_arrays": "[[a]]\nx = 1\n\n[[b]]\ny = 2\n\n[t]\nq = 2\n",
    "after_a_dotted_key": "k.l = 1\nk.m = 2\n\n[[a]]\nx = 1\n",
    "comments": "# top\n\n[t] # t\nq = 2 # q\n\n# about a\n[[a]] # a\nx = 1 # x\n# end\n",
    "indented": "[t]\n  q = 2\n\n  [[t.a]]\n  x = 1\n\n  [[t.b]]\n  x = 1\n",
    # in a table with a header
    "in_a_table": "[t]\nq = 2\n\n[[t.a]]\nx = 1\n",
    "in_an_empty_table": "[t]\n\n[[t.a]]\nx = 1\n",
    "in_an_empty_table_right_behind": "[t]\n[[t.a]]\nx = 1\n",
    "before_a_subtable": "[t]\n\n[[t.a]]\nx = 1\n\n[t.b]\ny = 3\n",
    "after_a_subtable": "[t]\n\n[t.b]\ny = 3\n\n[[t.a]]\nx = 1\n",
    "two_in_a_table": "[t]\nq = 1\n[[t.a]]\nx = 1\n[t.b]\ny = 3\n[[t.c]]\nz = 1\n",
    "two_levels_down": "[t]\n\n[t.u]\n\n[[t.u.a]]\nx = 1\n",
    "in_the_last_table": "[s]\na = 1\n[t]\nq = 2\n[[t.a]]\nx = 1",
    # in a table without a header
    "implicit": "[[t.a]]\nx = 1\n",
    "implicit_twice": "[[t.u.a]]\nx = 1\n",
    "implicit_after_values": "v = 1\n[[t.a]]\nx = 1\n",
    "implicit_after_a_table": "[x]\nq = 1\n\n[[t.a]]\nx = 1\n",
    "implicit_before_a_table": "[[t.a]]\nx = 1\n\n[x]\nq = 1\n",
    "implicit_with_a_subtable": "[x]\nq = 1\n\n[[t.a]]\nx = 1\n\n[t.b]\ny = 3\n",
    "implicit_after_a_subtable": "[x]\nq = 1\n\n[t.b]\ny = 3\n\n[[t.a]]\nx = 1\n",
    "implicit_with_two": "[x]\nq = 1\n\n[[t.a]]\nx = 1\n\n[[t.b]]\ny = 3\n",
    "implicit_with_two_levels": "[[t.u.a]]\nx = 1\n\n[[t.u.b]]\ny = 3\n\n[[t.c]]\nz = 1\n",
    "implicit_in_a_table": "[t]\n\n[[t.u.a]]\nx = 1\n",
    "implicit_in_a_table_with_values": "[t]\nq = 1\n[[t.u.a]]\nx = 1\n",
    "implicit_in_a_table_with_a_subtable": "[t]\n\n[[t.u.a]]\nx = 1\n\n[t.u.b]\ny = 3\n",
    "implicit_in_a_table_after_another": "[t]\nq = 1\n[t.s]\nr = 1\n[[t.u.a]]\nx = 1\n",
    "implicit_three_times_in_a_table": "[t]\nq = 1\n[[t.u.v.w.a]]\nx = 1\n[x]\n",
    # in a table whose header comes later
    "header_later": "[[t.a]]\nx = 1\n\n[t]\nq = 1\n",
    "empty_header_later": "[[t.a]]\n[t]\n",
    "header_much_later": "v = 1\n\n[[t.a]]\nx = 1\n\n[x]\ny = 1\n\n[t]\nq = 1\n",
    "header_later_at_the_end": "[[t.a]]\nx = 1\n[x]\n[t]",
    "header_of_the_middle_later": "[[t.u.a]]\nx = 1\n[t.u]\nq = 1\n[t]\nr = 1\n",
    "header_of_the_outer_later": "[[t.u.a]]\nx = 1\n[t]\nr = 1\n",
    "header_of_the_outer_later_and_a_subtable": "[t.u.s]\ny = 1\n[[t.u.a]]\nx = 1\n[t]\nr = 1\n",
    "two_with_the_header_between": "[[t.a]]\nx = 1\n[t]\nq = 1\n[[t.b]]\ny = 1\n",
    # in a table in several parts
    "scattered": "[t.b]\ny = 1\n[x]\nz = 1\n[[t.a]]\nx = 1\n",
    "scattered_with_header": "[t]\nq = 1\n[x]\nz = 1\n[[t.a]]\nx = 1\n[y]\n[t.b]\n",
    "scattered_with_header_last": "[t.b]\ny = 1\n[x]\nz = 1\n[[t.a]]\nx = 1\n[y]\n[t]\nq = 1\n",
    "scattered_two": "[[t.a]]\nx = 1\n[x]\nz = 1\n[[t.b]]\ny = 1\n",
    "scattered_two_levels": "[[t.u.a]]\nx = 1\n[x]\nz = 1\n[[t.u.b]]\ny = 1\n[y]\n[t.u]\nw = 1\n",
    "scattered_deep": "[t.u.v]\nx = 1\n[x]\n[[t.u.a]]\nx = 1\n[y]\n[t.w]\nz = 1\n[[t.w.b]]\n",
    # near dotted keys
    "dotted_keys_in_the_table": "[t]\nk.l = 1\n[[t.a]]\nx = 1\n",
    "dotted_keys_in_the_element": "[[a]]\nk.l = 1\n[[a.b]]\nm.n = 2\n",
    "below_a_dotted_key": "[t]\nk.l = 1\n[[t.k.a]]\nx = 1\n",
    # in elements of other arrays
    "in_an_element": "[[e]]\nn = 1\n\n[[e.a]]\nx = 1\n",
    "in_a_bare_element": "[[e]]\n[[e.a]]\nx = 1\n",
    "in_two_elements": "[[e]]\nn = 1\n[[e.a]]\nx = 1\n[[e]]\nn = 2\n[[e.a]]\ny = 1\n[t]\nq = 1\n",
    "in_a_table_of_an_element": "[[e]]\nn = 1\n[e.t]\nq = 1\n[[e.t.a]]\nx = 1\n",
    "implicit_in_an_element": "[[e]]\nn = 1\n\n[[e.s.a]]\nx = 1\n",
    "implicit_twice_in_an_element": "[[e]]\n[[e.s.t.a]]\nx = 1\n[e.s.u]\ny = 1\n",
    "header_later_in_an_element": "[[e]]\n[[e.s.a]]\nx = 1\n[e.s]\nq = 1\n[[e]]\n[e.s]\n",
    "three_levels_of_arrays": "[[e]]\n[[e.f]]\nn = 1\n[[e.f.g]]\nx = 1\n[[e.f.g]]\n[[e.f]]\n[[e]]\n[[e.h]]\n",
    "elements_below_implicit": "[[t.e]]\nn = 1\n[[t.e.a]]\nx = 1\n[[t.e.s.b]]\n",
    "same_names": "[[a]]\n[[a.a]]\n[[a.a.a]]\nx = 1\n",
    "same_names_below_implicit": "[[a.a.a]]\nx = 1\n[a.a.b]\n[b.a]\n[[b.b]]\n",
    # keys that need quotes
    "quoted": '[t]\nq = 1\n[["a b"]]\nx = 1\n',
    "quoted_with_dots": '["t.u"]\nq = 1\n[x]\n[["t.u"."a.b".c]]\nx = 1\n[["d.e".\'f "g"\']]\ny = 1\n',
    "not_ascii": '[["ключ"."ä"]]\nx = 1\n[t]\n',
}


def arrays(table, path=()):
    """The path of each array of tables in a document."""
    for key in list(table):
        value = table[key]
        if isinstance(value, AoT):
            yield (*path, key)
            for number, element in enumerate(value):
                yield from arrays(element, (*path, key, number))
        elif hasattr(value, "keys"):
            yield from arrays(value, (*path, key))


def follow(data, path):
    for step in path:
        data = data[step]
    return data


def check(doc, data=None):
    """The text that is written, once it is sure that it holds the same data as the document."""
    before = doc.unwrap()
    assert data is None or before == data
    text = tomlkit.dumps(doc)
    assert tomllib.loads(text) == before, text
    assert doc.unwrap() == before
    assert tomlkit.dumps(doc) == text
    return text


def emptied(content, paths):
    """A document with some arrays of tables emptied, inner ones first, and the data that it should hold."""
    doc, data = tomlkit.parse(content), tomllib.loads(content)
    for path in sorted(paths, key=len, reverse=True):
        follow(doc, path).clear()
        follow(data, path).clear()
    return doc, data


EACH = [
    pytest.param(content, path, id=f"{name}-{'.'.join(map(str, path))}")
    for name, content in DOCUMENTS.items()
    for path in arrays(tomlkit.parse(content))
]


@pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS)
class TestDocuments:
    def test_untouched_it_is_written_byte_for_byte(self, content):
        assert tomllib.loads(content) == tomlkit.parse(content).unwrap()
        assert tomlkit.dumps(tomlkit.parse(content)) == content

    def test_all_arrays_emptied(self, content):
        check(*emptied(content, arrays(tomlkit.parse(content))))

    def test_all_arrays_emptied_and_read_again(self, content):
        doc, data = emptied(content, arrays(tomlkit.parse(content)))
        try:
            again = tomlkit.parse(check(doc))
        except tomlkit.exceptions.ParseError:
            pytest.fail("tomlkit does not read what it writes")
        assert again.unwrap() == data
        assert check(again, data) == check(doc)

    def test_all_arrays_emptied_and_filled_again(self, content):
        doc, data = emptied(content, arrays(tomlkit.parse(content)))
        check(doc)
        for path in list(arrays(doc)):
            follow(doc, path).append({"new": 5})
            follow(data, path).append({"new": 5})
        text = check(doc, data)
        assert "[]" not in text


@pytest.mark.parametrize(("content", "path"), EACH)
class TestOneArray:
    def test_emptied(self, content, path):
        check(*emptied(content, [path]))

    def test_emptied_and_filled_again(self, content, path):
        doc, data = emptied(content, [path])
        check(doc)
        assert isinstance(follow(doc, path), AoT)
        follow(doc, path).append(tomlkit.item({"new": 5}))
        follow(data, path).append({"new": 5})
        text = check(doc, data)
        assert "[]" not in text
        assert "]]" in text

    def test_emptied_and_removed(self, content, path):
        doc, data = emptied(content, [path])
        check(doc)
        *parent, key = path
        del follow(doc, parent)[key]
        del follow(data, parent)[key]
        assert "[]" not in tomlkit.dumps(doc)

    def test_other_lines_stay(self, content, path):
        array = follow(tomlkit.parse(content), path)
        gone = {line for element in array for line in element.as_string().splitlines()}
        doc, _ = emptied(content, [path])
        written = check(doc).splitlines()
        rest = iter(written)
        for line in content.splitlines():
            if line and line not in gone and not line.lstrip().startswith("[["):
                assert line in rest, f"{line!r} is missing, or in another place, in {written}"


@pytest.mark.parametrize(
    "empty",
    [
        lambda array: [array.pop() for _ in range(len(array))],
        lambda array: [array.pop(0) for _ in range(len(array))],
        lambda array: array.clear(),
        lambda array: array.__delitem__(slice(None)),
        lambda array: [array.__delitem__(0) for _ in range(len(array))],
        lambda array: [array.remove(element) for element in list(array)],
    ],
    ids=["pop", "pop_first", "clear", "del_slice", "del", "remove"],
)
@pytest.mark.parametrize("head", ["", "[t]\nq = 1\n"], ids=["alone", "after_a_table"])
def test_any_way_to_empty_it(empty, head):
    doc = tomlkit.parse(head + "[[a]]\nx = 1\n\n[[a]]\nx = 2\n")
    empty(doc["a"])
    check(doc, {**tomllib.loads(head), "a": []})


def test_the_last_of_many_elements():
    doc = tomlkit.parse("[t]\n" + "".join(f"[[t.a]]\nx = {number}\n" for number in range(5)))
    for left in range(4, -1, -1):
        doc["t"]["a"].pop(0)
        text = check(doc)
        assert text.count("[[t.a]]") == left


def test_the_example():
    doc = tomlkit.parse('[build]\njobs = 4\n\n[[plugin]]\nname = "lint"\n')
    doc["plugin"].pop()
    check(doc, {"build": {"jobs": 4}, "plugin": []})


class TestMadeByHand:
    def test_in_a_new_document(self):
        doc = tomlkit.document()
        doc["a"] = tomlkit.aot()
        assert check(doc, {"a": []}) == "a = []\n"

    def test_in_a_mapping(self):
        data = {"v": 1, "a": tomlkit.aot(), "t": {"q": 1, "b": tomlkit.aot()}, "u": {"c": tomlkit.aot()}}
        assert tomllib.loads(tomlkit.dumps(data)) == {"v": 1, "a": [], "t": {"q": 1, "b": []}, "u": {"c": []}}

    @pytest.mark.parametrize("first", [True, False])
    def test_beside_tables_and_values(self, first):
        doc = tomlkit.document()
        if first:
            doc.add("a", tomlkit.aot())
        doc.add("t", tomlkit.table().add("q", 1))
        if not first:
            doc.add("a", tomlkit.aot())
        doc["v"] = 7
        check(doc, {"t": {"q": 1}, "a": [], "v": 7})

    @pytest.mark.parametrize("is_super_table", [None, True, False])
    @pytest.mark.parametrize("deep", [False, True])
    def test_in_tables(self, is_super_table, deep):
        doc = tomlkit.parse("[x]\ny = 1\n")
        table = tomlkit.table(is_super_table)
        table.add("a", tomlkit.aot())
        data = {"a": []}
        if deep:
            outer = tomlkit.table(is_super_table)
            outer.add("t", table)
            table, data = outer, {"t": data}
        doc.add("u", table)
        doc.add("z", tomlkit.table())
        check(doc, {"x": {"y": 1}, "u": data, "z": {}})

    def test_in_an_element(self):
        doc = tomlkit.parse("[t]\nq = 1\n")
        doc["e"] = tomlkit.aot()
        doc["e"].append({"n": 1})
        doc["e"].append({"n": 2})
        doc["e"][0]["a"] = tomlkit.aot()
        doc["e"][1]["a"] = tomlkit.aot()
        doc["e"][1]["t"] = {"b": tomlkit.aot()}
        elements = [{"n": 1, "a": []}, {"n": 2, "a": [], "t": {"b": []}}]
        check(doc, {"t": {"q": 1}, "e": elements})

    @pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS)
    def test_in_every_table_of_a_document(self, content):
        # without a final newline, nothing can be added behind a header
        doc = tomlkit.parse(content.rstrip("\n") + "\n")
        data = doc.unwrap()

        def add(table, plain):
            for key in list(table):
                if isinstance(table[key], AoT):
                    for element, inner in zip(table[key], plain[key], strict=True):
                        add(element, inner)
                elif hasattr(table[key], "keys"):
                    add(table[key], plain[key])
            table["new"] = tomlkit.aot()
            plain["new"] = []

        add(doc, data)
        check(doc, data)

    def test_values_set_afterwards(self):
        doc = tomlkit.parse("[t]\nq = 1\n\n[[t.a]]\nx = 1\n\n[[b]]\ny = 1\n")
        doc["t"]["a"].clear()
        doc["b"].clear()
        doc["t"]["r"] = 2
        doc["v"] = 3
        doc["u"] = {"w": 4}
        check(doc, {"t": {"q": 1, "a": [], "r": 2}, "b": [], "v": 3, "u": {"w": 4}})

    def test_a_plain_empty_array_stays_where_it_is(self):
        content = "v = 1\na = [] # none\n\n[t]\nb = [ ]\n"
        assert tomlkit.dumps(tomlkit.parse(content)) == content


def generated(seed):
    """Some valid document with arrays of tables, or None."""
    r = random.Random(seed)
    lines = [f"{r.choice('xyz')}{number} = {number}" for number in range(r.randint(0, 2))]
    for _ in range(r.randint(2, 6)):
        path = ".".join(r.choice("abc") for _ in range(r.randint(1, 3)))
        lines += [""] * r.randint(0, 1)
        lines += ["# note"] * (r.random() < 0.2)
        lines.append(f"[[{path}]]" if r.random() < 0.55 else f"[{path}]")
        for _ in range(r.randint(0, 2)):
            key = r.choice("xyz") if r.random() < 0.8 else f"{r.choice('abc')}.{r.choice('xyz')}"
            lines.append(f"{key} = {r.randint(0, 9)}" + "  # c" * (r.random() < 0.2))
    content = "\n".join(lines) + "\n"
    try:
        data = tomllib.loads(content)
        doc = tomlkit.parse(content)
        kept = doc.unwrap() == data and tomlkit.dumps(doc) == content
    except (ValueError, KeyError, tomlkit.exceptions.TOMLKitError):
        return None
    return content if kept and any(arrays(doc)) else None


@pytest.mark.parametrize("block", range(20))
def test_generated_documents(block):
    r = random.Random(block)
    for content in filter(None, map(generated, range(block * 100, block * 100 + 100))):
        paths = list(arrays(tomlkit.parse(content)))
        for chosen in (paths, r.sample(paths, r.randint(1, len(paths)))):
            doc, _ = emptied(content, chosen)
            check(doc)
