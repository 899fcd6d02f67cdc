# Another way than the gold solution: the keys of the items are written down apart from the cache.
python - <<'PYTHON'
from pathlib import Path

path = Path("more_itertools/more.py")
text = path.read_text()
for old, new in [
    ("        self._cache = defaultdict(deque)\n        self._validator", "        self._cache = defaultdict(deque)\n        self._seen = {}\n        self._validator"),
    ("                    if item_value == value:\n                        yield item\n", "                    if item_value == value:\n                        self._seen[value] = True\n                        yield item\n"),
    ("                    elif self._validator(item_value):\n", "                    elif self._validator(item_value):\n                        self._seen[item_value] = True\n"),
    ("            if self._validator(item_value):\n                self._cache[item_value].append(item)\n\n        return iter(self._cache)\n", "            if self._validator(item_value):\n                self._seen[item_value] = True\n                self._cache[item_value].append(item)\n\n        return iter(self._seen)\n"),
]:
    assert text.count(old) == 1, old
    text = text.replace(old, new)
path.write_text(text)
PYTHON
