# Walk over the keys as they are when iteration starts, and look each one up again when its turn comes: by then it may
# have another expiration time, or may be gone.
python - <<'PYTHON'
from pathlib import Path

path = Path("src/cachetools/__init__.py")
text = path.read_text()
for old, new in [
    (
        """\
    def __iter__(self):
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
    def __iter__(self):
        # updating an item moves its link to the other end of the list, so
        # take note of the keys first
        keys = []
        root = self.__root
        curr = root.next
        while curr is not root:
            keys.append(curr.key)
            curr = curr.next
        for key in keys:
            # "freeze" time for iterator access
            with self.timer as time:
                link = self.__links.get(key)
                if link is not None and time < link.expires:
                    yield key
""",
    ),
    (
        """\
    def __iter__(self):
        for curr in self.__order:
            # "freeze" time for iterator access
            with self.timer as time:
                if time < curr.expires and not curr.removed:
                    yield curr.key
""",
        """\
    def __iter__(self):
        # updating an item replaces it and reorders the heap, so take note
        # of the keys first
        for key in [item.key for item in self.__order if not item.removed]:
            # "freeze" time for iterator access
            with self.timer as time:
                item = self.__items.get(key)
                if item is not None and time < item.expires:
                    yield key
""",
    ),
]:
    assert text.count(old) == 1, old
    text = text.replace(old, new)
path.write_text(text)
PYTHON
