"""One BEGIN ... END body is one statement, whatever stands inside it."""

import pytest
import sqlparse

HEADS = {
    "anonymous": "",
    "procedure": "CREATE PROCEDURE p()\n",
    "replaced": "create or replace procedure p()\n",
}

BODIES = {
    "case_expression": "UPDATE o SET s = CASE WHEN paid THEN 'a' ELSE 'b' END; DELETE FROM t;",
    "case_expression_as_last": "SELECT 1; SELECT CASE a WHEN 1 THEN 2 END;",
    "two_case_expressions": "SELECT CASE a WHEN 1 THEN 2 END, CASE b WHEN 1 THEN 2 END AS c; SELECT 3;",
    "case_in_case": "SELECT CASE WHEN a THEN CASE WHEN b THEN 1 ELSE 2 END ELSE 3 END; SELECT 4;",
    "case_in_case_in_case": (
        "SELECT CASE WHEN CASE WHEN a THEN b END THEN CASE c WHEN 1 THEN CASE d WHEN 2 THEN 3 END END END; SELECT 4;"
    ),
    "case_in_parentheses": "SELECT f((CASE WHEN a THEN 1 END) + 1); SELECT 4;",
    "case_then_for_update": "SELECT * FROM t ORDER BY CASE WHEN a THEN 1 ELSE 2 END FOR UPDATE; SELECT 3;",
    "case_in_if": "IF a THEN SELECT CASE WHEN b THEN 1 ELSE 2 END AS n; ELSE SELECT 2; END IF; SELECT 3;",
    "case_as_condition": "IF CASE WHEN a THEN b ELSE c END THEN SELECT 1; END IF; SELECT 3;",
    "case_statement": "CASE v WHEN 1 THEN SELECT 1; WHEN 2 THEN SELECT 2; ELSE SELECT 3; END CASE; SELECT 4;",
    "case_expression_in_case_statement": (
        "CASE v WHEN 1 THEN SELECT CASE WHEN a THEN 1 END; ELSE SELECT 3; END CASE; SELECT 4;"
    ),
    "case_statement_in_case_statement": (
        "CASE v WHEN 1 THEN CASE w WHEN 2 THEN SELECT 1; END CASE; ELSE SELECT 3; END CASE; SELECT 4;"
    ),
    "end_and_case_on_two_lines": "CASE v WHEN 1 THEN SELECT 1; END\n    CASE; SELECT 4;",
    "case_after_case_statement": "CASE v WHEN 1 THEN SELECT 1; END CASE; SELECT CASE WHEN a THEN 1 END; SELECT 4;",
    "for_do": "FOR r AS SELECT 1 DO DELETE FROM t; UPDATE t SET a = 1; END FOR; SELECT 3;",
    "for_do_in_lower_case": "for r as select 1 do delete from t; end for; select 3;",
    "for_loop": "FOR r IN q LOOP DELETE FROM t; END LOOP; SELECT 3;",
    "two_for_loops": "FOR r IN q LOOP DELETE FROM t; END LOOP; FOR s IN q LOOP DELETE FROM u; END LOOP; SELECT 3;",
    "while_loop": "WHILE a < 3 LOOP DELETE FROM t; END LOOP; SELECT 3;",
    "while_do": "WHILE a < 3 DO DELETE FROM t; END WHILE; SELECT 3;",
    "plain_loop": "LOOP DELETE FROM t; EXIT WHEN a; END LOOP; SELECT 3;",
    "labelled_loop": "l: LOOP DELETE FROM t; LEAVE l; END LOOP l; SELECT 3;",
    "end_and_for_on_two_lines": "FOR r DO DELETE FROM t; END\nFOR; SELECT 3;",
    "end_comment_for": "FOR r DO DELETE FROM t; END /* of r */ FOR; SELECT 3;",
    "end_line_comment_for": "FOR r DO DELETE FROM t; END -- of r\n FOR; SELECT 3;",
    "for_in_while": "WHILE a DO FOR r DO DELETE FROM t; END FOR; SELECT 9; END WHILE; SELECT 3;",
    "for_in_for": "FOR r DO FOR s DO DELETE FROM t; END FOR; SELECT 9; END FOR; SELECT 3;",
    "loop_in_if": "IF a THEN FOR r IN q LOOP DELETE FROM t; END LOOP; END IF; SELECT 3;",
    "if_in_for": "FOR r DO IF a THEN DELETE FROM t; ELSE SELECT 2; END IF; END FOR; SELECT 3;",
    "case_in_for": "FOR r DO UPDATE t SET a = CASE WHEN b THEN 1 END; DELETE FROM t; END FOR; SELECT 3;",
    "block_in_for": "FOR r DO BEGIN DELETE FROM t; END; SELECT 9; END FOR; SELECT 3;",
    "block_in_if": "IF a THEN BEGIN DELETE FROM t; END; END IF; SELECT 3;",
    "block_in_block": "BEGIN BEGIN DELETE FROM t; END; SELECT 2; END; SELECT 3;",
    "case_in_inner_block": "BEGIN SELECT CASE WHEN a THEN 1 END; SELECT 2; END; SELECT 3;",
    "for_update": "SELECT * FROM t FOR UPDATE; SELECT * FROM u FOR SHARE; SELECT 3;",
    "for_update_in_loop": "FOR r IN (SELECT * FROM t FOR UPDATE) LOOP DELETE FROM t; END LOOP; SELECT 3;",
    "elsif": "IF a THEN SELECT 1; ELSIF b THEN SELECT 2; ELSE SELECT 3; END IF; SELECT 4;",
    "if_function": "SELECT IF(a, 1, 2), IF(b, IF(c, 1, 2), 3); SELECT 3;",
    "if_exists": "DROP TABLE IF EXISTS t; CREATE TABLE IF NOT EXISTS t (a int); SELECT 3;",
    "on_conflict_do": "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING; SELECT 3;",
    "if_without_end_if": "IF a SELECT 1; SELECT 3;",
    "if_else_with_blocks": "IF a BEGIN SELECT 1; END ELSE BEGIN SELECT 2; END; SELECT 3;",
    "while_with_block": "WHILE a < 3 BEGIN SELECT 1; SELECT 2; END; SELECT 3;",
    "if_then_without_end_if": "IF (a) THEN b = 1; IF (c) THEN BEGIN b = 2; END ELSE b = 3; SELECT 3;",
    "while_do_with_block": "WHILE (a < 3) DO BEGIN a = a + 1; DELETE FROM t; END SELECT 3;",
    "for_select_do_with_block": "FOR SELECT b FROM t INTO :b DO BEGIN a = b; SUSPEND; END SELECT 3;",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_is_one_statement_and_the_next_one_is_its_own(head, body):
    block = f"{head}BEGIN\n    {body}\nEND;"
    assert sqlparse.split(f"{block}\nSELECT 'after';") == [block, "SELECT 'after';"]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_each_block_of_a_script_starts_afresh(body):
    block = f"BEGIN {body} END;"
    procedure = f"CREATE PROCEDURE p() {block}"
    script = [block, "SELECT 1;", procedure, block, "SELECT CASE WHEN a THEN 1 END;", procedure, "SELECT 2;"]
    assert sqlparse.split("\n".join(script)) == script


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_the_pieces_put_together_are_the_script(body):
    script = f"  -- start\nBEGIN {body} END;\n\nCREATE PROCEDURE p() BEGIN {body} END;\n SELECT 1 ;"
    pieces = sqlparse.parse(script)
    assert "".join(str(piece) for piece in pieces) == script
    assert len(pieces) == 3


DECLARED = "CREATE FUNCTION f() RETURNS int AS\nDECLARE\n    a int;\n    b int := 2;\nBEGIN\n    {}\n    RETURN a;\nEND;"


@pytest.mark.parametrize(
    "body",
    [
        "SELECT 1;",
        "IF a THEN SELECT 1; END IF;",
        "FOR i IN 1..3 LOOP SELECT 1; END LOOP;",
        "SELECT CASE WHEN a THEN CASE WHEN b THEN 1 END END;",
        "DECLARE c int; BEGIN SELECT 1; END;",
    ],
)
def test_a_declare_section_belongs_to_its_function_and_to_nothing_else(body):
    function = DECLARED.format(body)
    assert sqlparse.split(f"{function}\nSELECT 1;\n{function}") == [function, "SELECT 1;", function]


@pytest.mark.parametrize("begin", ["BEGIN;", "BEGIN TRANSACTION;", "begin work;", "BEGIN\nIMMEDIATE;", "BEGIN /* t */;"])
@pytest.mark.parametrize("end", ["COMMIT;", "END;", "END TRANSACTION;"])
def test_a_transaction_is_no_block(begin, end):
    script = [begin, "UPDATE t SET a = CASE WHEN b THEN 1 END;", "SELECT * FROM t FOR UPDATE;", end, "SELECT 1;"]
    assert sqlparse.split("\n".join(script)) == script


def test_a_block_after_a_transaction_is_a_block():
    script = ["BEGIN;", "BEGIN SELECT CASE WHEN a THEN 1 END; SELECT 2; END;", "COMMIT;", "SELECT 1;"]
    assert sqlparse.split("\n".join(script)) == script


@pytest.mark.parametrize(
    "first",
    [
        "SELECT CASE WHEN a THEN CASE WHEN b THEN 1 END END;",
        "SELECT * FROM t ORDER BY CASE WHEN a THEN 1 ELSE 2 END FOR UPDATE;",
        "SELECT * FROM t FOR UPDATE;",
        "SELECT IF(a, 1, 2);",
        "DROP TABLE IF EXISTS t;",
        "CREATE VIEW v AS SELECT CASE WHEN a THEN 1 END AS b FROM t;",
        "DECLARE c CURSOR FOR SELECT 1;",
        "IF a BEGIN SELECT 1; END ELSE BEGIN SELECT 2; END;",
    ],
)
def test_outside_a_block_each_semicolon_ends_a_statement(first):
    assert sqlparse.split(f"{first} SELECT 1; SELECT 2;") == [first, "SELECT 1;", "SELECT 2;"]


def test_a_trigger_with_a_case_expression_ends_with_its_block():
    trigger = (
        "CREATE TRIGGER t AFTER UPDATE ON a FOR EACH ROW WHEN new.b > 1 BEGIN "
        "UPDATE b SET c = CASE WHEN 1 THEN 2 ELSE 3 END; UPDATE b SET d = 1; END;"
    )
    assert sqlparse.split(f"{trigger} SELECT 1;") == [trigger, "SELECT 1;"]


@pytest.mark.parametrize("after", ["FOR UPDATE", "FOR\nSHARE", "AS c", ", CASE b WHEN 1 THEN 2 END"])
def test_a_case_expression_is_still_parsed_up_to_its_end(after):
    (statement,) = sqlparse.parse(f"SELECT CASE WHEN a THEN 1 END {after}")
    assert "CASE WHEN a THEN 1 END" in _cases(statement)


def _cases(token):
    found = [str(token)] if isinstance(token, sqlparse.sql.Case) else []
    return found + [case for child in getattr(token, "tokens", ()) for case in _cases(child)]
