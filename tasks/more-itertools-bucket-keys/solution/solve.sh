# Looking a key up must not store it; the first item found for a key, cached or not, must.
python - <<'PYTHON'
from pathlib import Path

path = Path("more_itertools/more.py")
text = path.read_text()
for old, new in [
    ("            if self._cache[value]:\n                yield", "            if self._cache.get(value):\n                yield"),
    (
        "                    if item_value == value:\n                        yield item\n",
        "                    if item_value == value:\n"
        "                        # This item goes past the cache, but its key counts\n"
        "                        self._cache.setdefault(value, deque())\n"
        "                        yield item\n",
    ),
]:
    assert text.count(old) == 1, old
    text = text.replace(old, new)
path.write_text(text)
PYTHON
