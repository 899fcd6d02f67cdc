# An array without elements has no header left, so it is written as `key = []`. Where such a line may stand is decided
# before anything is rendered, because a table may be scattered over the document and have its header anywhere.
git apply <<'PATCH'
diff --git a/tomlkit/container.py b/tomlkit/container.py
index 8ff30d9..994d545 100644
--- a/tomlkit/container.py
+++ b/tomlkit/container.py
@@ -32,6 +32,65 @@ from tomlkit.items import item as _item
 _NOT_SET = object()
 
 
+def _has_header(key: Key, table: Table) -> bool:
+    """Whether the table is written with a ``[header]`` line of its own."""
+    if not table.is_super_table():
+        return True
+    if key.is_dotted():
+        return False
+    return any(
+        (k is not None and k.is_dotted())
+        if isinstance(v, Table)
+        else not isinstance(v, (AoT, Whitespace, Null))
+        for k, v in table.value.body
+    )
+
+
+def _plan_empty_aots(
+    body: list[tuple[Key | None, Item]],
+) -> tuple[list[Key], dict[int, list[Key]]]:
+    """Decide where to write ``key = []`` for each array of tables without elements.
+
+    Such an array has no ``[[header]]`` left, and a plain key belongs to the
+    table whose header came last. So it is written at the very beginning of its
+    parent. The parent may be scattered over several fragments, and at most one
+    of them may have the header: that one writes the array. Failing that, the
+    array joins the parent's dotted keys, and failing those, the parent's first
+    fragment gets a header.
+
+    Returns the keys that belong to ``body`` itself, and those of each table
+    below it, by the table's ``id``. Elements of arrays of tables are planned
+    when they are rendered.
+    """
+    fragments: dict[tuple[str, ...], list[tuple[Key, Table]]] = {}
+    found: list[tuple[tuple[str, ...], Key]] = []
+
+    def walk(body: list[tuple[Key | None, Item]], parent: tuple[str, ...]) -> None:
+        for k, v in body:
+            if k is None:
+                continue
+            if isinstance(v, AoT) and not v.body:
+                found.append((parent, k))
+            elif isinstance(v, Table):
+                fragments.setdefault((*parent, k.key), []).append((k, v))
+                walk(v.value.body, (*parent, k.key))
+
+    walk(body, ())
+
+    own: list[Key] = []
+    below: dict[int, list[Key]] = {}
+    for parent, key in found:
+        if not parent:
+            own.append(key)
+            continue
+        ranked = sorted(
+            fragments[parent],
+            key=lambda f: 0 if _has_header(*f) else 1 if f[0].is_dotted() else 2,
+        )
+        below.setdefault(id(ranked[0][1]), []).append(key)
+    return own, below
+
+
 class Container(_CustomDict):  # type: ignore[type-arg]
     """
     A container for items within a TOMLDocument.
@@ -632,7 +691,8 @@ class Container(_CustomDict):  # type: ignore[type-arg]
 
     def as_string(self) -> str:
         """Render as TOML string."""
-        s = ""
+        empty, below = _plan_empty_aots(self._body)
+        s = self._render_empty_aots(empty)
         for k, v in self._body:
             if k is not None:
                 if isinstance(v, Table):
@@ -642,7 +702,7 @@ class Container(_CustomDict):  # type: ignore[type-arg]
                         and "\n" not in v.trivia.indent
                     ):
                         s += "\n"
-                    s += self._render_table(k, v)
+                    s += self._render_table(k, v, empty_aots=below)
                 elif isinstance(v, AoT):
                     if (
                         s.strip(" ")
@@ -658,7 +718,18 @@ class Container(_CustomDict):  # type: ignore[type-arg]
 
         return s
 
-    def _render_table(self, key: Key, table: Table, prefix: str | None = None) -> str:
+    def _render_empty_aots(self, keys: list[Key], prefix: str | None = None) -> str:
+        path = "" if prefix is None else f"{prefix}."
+        return "".join(f"{path}{key.as_string()} = []\n" for key in keys)
+
+    def _render_table(
+        self,
+        key: Key,
+        table: Table,
+        prefix: str | None = None,
+        *,
+        empty_aots: dict[int, list[Key]],
+    ) -> str:
         cur = ""
 
         if table.display_name is not None:
@@ -669,30 +740,17 @@ class Container(_CustomDict):  # type: ignore[type-arg]
             if prefix is not None:
                 _key = prefix + "." + _key
 
-        if (
-            not table.is_super_table()
-            or (
-                any(
-                    not isinstance(v, (Table, AoT, Whitespace, Null))
-                    for _, v in table.value.body
-                )
-                and not key.is_dotted()
-            )
-            or (
-                any(
-                    k is not None and k.is_dotted()
-                    for k, v in table.value.body
-                    if isinstance(v, Table)
-                )
-                and not key.is_dotted()
-            )
-        ):
+        empty = empty_aots.get(id(table), [])
+        has_header = _has_header(key, table)
+        if has_header or (empty and not key.is_dotted()):
             open_, close = "[", "]"
-            if table.is_aot_element():
+            if has_header and table.is_aot_element():
                 open_, close = "[[", "]]"
 
             newline_in_table_trivia = (
-                "\n" if "\n" not in table.trivia.trail and len(table.value) > 0 else ""
+                "\n"
+                if "\n" not in table.trivia.trail and (len(table.value) > 0 or empty)
+                else ""
             )
             cur += (
                 f"{table.trivia.indent}"
@@ -707,6 +765,8 @@ class Container(_CustomDict):  # type: ignore[type-arg]
         elif table.trivia.indent == "\n":
             cur += table.trivia.indent
 
+        cur += self._render_empty_aots(empty, _key if key.is_dotted() else None)
+
         for k, v in table.value.body:
             if isinstance(v, Table):
                 if (
@@ -719,11 +779,13 @@ class Container(_CustomDict):  # type: ignore[type-arg]
                 if v.is_super_table():
                     if k.is_dotted() and not key.is_dotted():
                         # Dotted key inside table
-                        cur += self._render_table(k, v)
+                        cur += self._render_table(k, v, empty_aots=empty_aots)
                     else:
-                        cur += self._render_table(k, v, prefix=_key)
+                        cur += self._render_table(
+                            k, v, prefix=_key, empty_aots=empty_aots
+                        )
                 else:
-                    cur += self._render_table(k, v, prefix=_key)
+                    cur += self._render_table(k, v, prefix=_key, empty_aots=empty_aots)
             elif isinstance(v, AoT):
                 if (
                     cur.strip(" ")
@@ -767,17 +829,22 @@ class Container(_CustomDict):  # type: ignore[type-arg]
             f"{table.trivia.trail}"
         )
 
+        empty, below = _plan_empty_aots(table.value.body)
+        if empty and not cur.endswith("\n"):
+            cur += "\n"
+        cur += self._render_empty_aots(empty)
+
         for k, v in table.value.body:
             if isinstance(v, Table):
                 assert k is not None
                 if v.is_super_table():
                     if k.is_dotted():
                         # Dotted key inside table
-                        cur += self._render_table(k, v)
+                        cur += self._render_table(k, v, empty_aots=below)
                     else:
-                        cur += self._render_table(k, v, prefix=_key)
+                        cur += self._render_table(k, v, prefix=_key, empty_aots=below)
                 else:
-                    cur += self._render_table(k, v, prefix=_key)
+                    cur += self._render_table(k, v, prefix=_key, empty_aots=below)
             elif isinstance(v, AoT):
                 assert k is not None
                 cur += self._render_aot(k, v, prefix=_key)
PATCH
