# Another way than the gold solution: slices are lists of positions, and neighbours go by the pieces of their ends.
python - <<'PYTHON'
from pathlib import Path

path = Path("boltons/listutils.py")
text = path.read_text()
start, stop = "    def iter_slice(self, start, stop, step=None):\n", "    __delslice__ = del_slice\n"
text = text.split(start)[0] + '''\
    def iter_slice(self, start, stop, step=None):
        where = range(len(self))[start:stop:step]
        if not where:
            return iter(())
        if where.step < 0:
            return iter(list(islice(self, where[-1], where[0] + 1, -where.step))[::-1])
        return islice(self, where[0], where[-1] + 1, where.step)

    def del_slice(self, start, stop, step=None):
        where = sorted(range(len(self))[start:stop:step])
        if not where:
            return
        if where[-1] - where[0] + 1 == len(where):
            first_list, first = self._translate_index(where[0])
            last_list, last = self._translate_index(where[-1])
            if first_list == last_list:
                del self.lists[first_list][first:last + 1]
            else:
                del self.lists[last_list][:last + 1]
                del self.lists[first_list][first:]
                del self.lists[first_list + 1:last_list]
        else:
            gone = set(where)
            self.lists[:] = [[item for i, item in enumerate(self) if i not in gone]]
            self._balance_list(0)
        for list_idx in reversed(range(len(self.lists))):
            if not self.lists[list_idx] and len(self.lists) > 1:
                del self.lists[list_idx]

''' + stop + text.split(stop)[1]
path.write_text(text)
PYTHON
