#!/usr/bin/env python3
"""Reads a dump of mysqldump or mariadb-dump for scripts/handoff.sh: its place in the binlog, and its rows into the tables of a sink.

Rows are read from the INSERT statements. A value is written as replicator writes it, by the type of
the column at the target. What a rule of the sink renames, drops, hashes or chooses is not known here, nor the values of columns that
the dump leaves out (generated ones): such a table is refused by name, before anything is made.
"""

import argparse
import json
import os
import re
import sqlite3
import struct
import sys
import urllib.error
import urllib.parse
import urllib.request

VALUE = re.compile(
    rb"\s*(?:(?:_\w+ )?'((?:[^'\\]|\\.|'')*)'|0x([0-9A-Fa-f]*)|b'([01]*)'|(NULL)|([-+0-9.eE]+))\s*([,)])", re.S
)
INSERT = re.compile(rb"INSERT INTO `((?:[^`]|``)+)` \(((?:`(?:[^`]|``)+`(?:, ?)?)+)\) VALUES\s*")
NAME = re.compile(rb"`((?:[^`]|``)+)`")
CREATE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?`((?:[^`]|``)+)`")
COLUMN = re.compile(rb"\s+`((?:[^`]|``)+)` (float\b)?")
# The database of what follows: the dump's head, and the statements of a dump of several.
DATABASE = re.compile(rb"(?:-- Host: .*?\s+Database: (\S.*?)\s*$|USE `((?:[^`]|``)+)`;)")
# How to get a table that is not loaded.
OTHERWISE = (
    "name it in the sink's `exclude` and load the others; taken out of `exclude` once the stream runs, it is read by itself"
)
ESCAPES = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"Z": b"\x1a"}
# Rows that go to a ClickHouse at once: each request is one part of the table.
BATCH = 50_000


class Refused(Exception):
    """What is said to the operator."""


def name_of(quoted):
    return quoted.replace(b"``", b"`").decode()


def text_of(raw):
    plain = re.sub(rb"''|\\(.)", lambda found: found[1] and ESCAPES.get(found[1], found[1]) or b"'", raw, flags=re.S)
    return plain


def position(path):
    """The place of a dump: a GTID set or list, or file and offset."""
    gtid, file_pos = None, None
    with open(path, "rb") as dump:
        head = dump.read(1 << 20)
    # mariadb-dump --gtid, and mysqldump --set-gtid-purged=COMMENTED; both as comments.
    found = re.search(rb"gtid_slave_pos\s*=\s*'([^']+)'", head)
    found = found or re.search(rb"GTID_PURGED\s*=\s*(?:/\*!80000 '\+'\*/)?\s*'\+?([^']+)'", head)
    if found:
        gtid = re.sub(rb"\s", b"", found[1]).decode()
    found = re.search(rb"(?:MASTER|SOURCE)_LOG_FILE='([^']+)',\s*(?:MASTER|SOURCE)_LOG_POS=(\d+)", head)
    if found:
        file_pos = found[1].decode(), int(found[2])
    if gtid:
        return f'startup_mode: specific\nspecific: {{ gtid: "{gtid}" }}'
    if file_pos:
        return f'startup_mode: specific\nspecific: {{ file: "{file_pos[0]}", pos: {file_pos[1]} }}'
    raise Refused("it has neither a GTID nor a file and position")


def database_of(line, database):
    """The database of what follows a line."""
    found = DATABASE.match(line)
    if not found:
        return database
    return found[1].decode() if found[1] else name_of(found[2])


def named(database, quoted):
    """The name of a table with that of its database, as `replicator check` says it."""
    if database is None:
        raise Refused("the dump does not say its database: make it without --skip-comments and --compact")
    return f"{database}.{name_of(quoted)}"


def head_of(line, database):
    """Table and columns of an INSERT, and where its rows begin; None: the line begins none."""
    if not line.startswith(b"INSERT INTO "):
        return None
    head = INSERT.match(line)
    if not head:
        raise Refused("an INSERT of the dump has no list of columns: make the dump with --complete-insert")
    return named(database, head[1]), [name_of(quoted) for quoted in NAME.findall(head[2])], head.end()


def rows_of(path, tables):
    """Table, columns, and rows of (kind, bytes) for each line of an INSERT: mariadb-dump has a line for each row, mysqldump one for all."""
    open_insert, database = None, None
    with open(path, "rb") as dump:
        for line in dump:
            at = 0
            if open_insert is None:
                database = database_of(line, database)
                head = head_of(line, database)
                if not head:
                    continue
                *open_insert, at = head
            rows, ends = values_of(line, at)
            if open_insert[0] in tables:
                yield *open_insert, rows
            if ends:
                open_insert = None
    if open_insert:
        raise Refused("the dump ends inside an INSERT")


def values_of(line, at):
    """The rows of a line from there on, and whether the statement ends with them."""
    rows = []
    while line[at : at + 1] == b"(":
        row, ends, at = [], False, at + 1
        while not ends:
            found = VALUE.match(line, at)
            if not found:
                raise Refused(f"a value of the dump cannot be read at byte {at} of its line")
            string, hexed, bits, null, number, end = found.groups()
            if string is not None:
                row.append(("text", text_of(string)))
            elif hexed is not None:
                row.append(("bytes", bytes.fromhex(hexed.decode())))
            elif bits is not None:
                row.append(("number", str(int(bits or b"0", 2)).encode()))
            elif null is not None:
                row.append(("null", b""))
            else:
                row.append(("number", number))
            ends, at = end == b")", found.end()
        rows.append(row)
        if line[at : at + 1] == b";":
            return rows, True
        if line[at : at + 1] != b",":
            raise Refused(f"a row of the dump does not end at byte {at} of its line")
        at += 1
    if line[at:].strip():
        raise Refused(f"what follows a row of the dump cannot be read at byte {at} of its line")
    return rows, False


class Dumped:
    """A table of a dump."""

    def __init__(self):
        # In the order of the table, and those of its rows; None: it has no rows.
        self.columns, self.filled = [], None
        # Those of type FLOAT, whose four bytes replicator widens.
        self.floats = set()


def tables_of(path):
    """The tables of a dump, by their names with the database."""
    tables, database, table = {}, None, None
    with open(path, "rb") as dump:
        for line in dump:
            database = database_of(line, database)
            if found := CREATE.match(line):
                table = tables.setdefault(named(database, found[1]), Dumped())
            elif table and (found := COLUMN.match(line)):
                table.columns.append(name_of(found[1]))
                if found[2]:
                    table.floats.add(name_of(found[1]))
            elif line.startswith(b")"):
                table = None
            elif head := head_of(line, database):
                name, filled, _ = head
                if name not in tables:
                    raise Refused(f'the dump has rows of "{name}" without its CREATE TABLE: make it without --no-create-info')
                tables[name].filled = tables[name].filled or filled
    return tables


def findings(path, sink):
    with open(path) as file:
        items = json.load(file)
    return [item for item in items if item["name"] == f"sink {sink}: names at the target"], items


def wanted(path, sink):
    """The tables that are missing at the target: their names at the source, and the statements that make them."""
    own, items = findings(path, sink)
    failed = [item for item in items if item["status"] == "fail"]
    for item in failed:
        print(f"   FAIL  {item['name']}: {item['detail']}", file=sys.stderr)
    if failed:
        raise Refused("see above; `replicator check` says what to do about each")
    missing = [item for item in own if item["status"] == "warn"]
    tables = [table for item in missing for table in item["tables"]]
    statements = [statement for item in missing for statement in item["mend"].split("\n")]
    if not tables or len(tables) != len(statements):
        raise Refused(
            f'no table is missing at the sink "{sink}": is `adopt: true` set for it, and does it exist in the configuration? '
            "What is loaded already need not be loaded again"
        )
    ruled = {table for item in items if item["name"] == f"sink {sink}: rules of rows taken over" for table in item["tables"]}
    return dict(zip(tables, statements)), ruled


def may_load(target, missing, ruled, dumped):
    """Refuses, before anything is made, what the dump does not have as the sink would."""
    if others := sorted(missing.keys() - dumped.keys()):
        raise Refused(
            f"the sink lacks tables that the dump does not have: {', '.join(others)}; dump them as well, of the same moment, or {OTHERWISE}"
        )
    for table, statement in missing.items():
        if table in ruled:
            raise Refused(
                f'a rule of the sink renames, drops, hashes or chooses what is written of "{table}", and the dump has all of it as it is: '
                f"load this table with a tool that does the same, or {OTHERWISE}"
            )
        there = dumped[table]
        if there.filled is None:
            continue
        if lacking := [column for column in there.filled if target.quoted(column) not in statement]:
            raise Refused(f'the sink\'s table for "{table}" has no column "{lacking[0]}", which the dump has')
        left_out = [column for column in there.columns if column not in there.filled and target.quoted(column) in statement]
        if left_out:
            raise Refused(f'the dump has no values of "{left_out[0]}" of "{table}": it leaves generated columns out; {OTHERWISE}')


class SQLite:
    """A file with the copies."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, isolation_level=None)

    @staticmethod
    def quoted(name):
        return '"' + name.replace('"', '""') + '"'

    def make(self, statement):
        self.connection.execute(statement)
        target = re.match(r'CREATE TABLE "((?:[^"]|"")+)"', statement)[1].replace('""', '"')
        return target

    def columns(self, target):
        listed = self.connection.execute("SELECT name, type FROM pragma_table_info(?)", [target])
        return dict(listed.fetchall())

    def value(self, ty, is_float, value):
        kind, raw = value
        if kind == "null":
            return None
        if ty == "TEXT":
            return raw.decode()
        if ty == "BLOB":
            return raw
        if ty == "REAL":
            real = float(raw)
            return struct.unpack("f", struct.pack("f", real))[0] if is_float else real
        whole = int.from_bytes(raw, "big") if kind == "bytes" else int(raw)
        # A column without a type keeps what is beyond 63 bits as text.
        return whole if whole < 1 << 63 else str(whole)

    def load(self, target, columns, types, batches):
        names = ", ".join(map(self.quoted, columns))
        marks = ", ".join("?" for _ in columns)
        quoted = self.quoted(target)
        loaded = 0
        for row in batches:
            values = [self.value(ty, is_float, value) for (ty, is_float), value in zip(types, row)]
            self.connection.execute(f"INSERT INTO {quoted} ({names}) VALUES ({marks})", values)
            loaded += 1
        return loaded

    def begin(self):
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self):
        self.connection.execute("COMMIT")


class ClickHouse:
    """A database with the copies."""

    def __init__(self, url, database, user):
        self.url, self.database = url, database
        self.headers = {"X-ClickHouse-User": user, "X-ClickHouse-Database": database}
        if password := os.environ.get("CLICKHOUSE_PASSWORD"):
            self.headers["X-ClickHouse-Key"] = password

    def ask(self, sql, body=b""):
        # Without a body the statement is one: a request that changes something has to be a POST.
        query = urllib.parse.urlencode({"query": sql, "input_format_null_as_default": 0})
        request = urllib.request.Request(f"{self.url}/?{query}", data=body, headers=self.headers, method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise Refused(f"ClickHouse: {error.read().decode(errors='replace').strip()}") from None

    @staticmethod
    def quoted(name):
        return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"

    def make(self, statement):
        self.ask(statement)
        target = re.match(r"CREATE TABLE `(?:[^`\\]|\\.)+`\.`((?:[^`\\]|\\.)+)`", statement)[1]
        return re.sub(r"\\(.)", r"\1", target)

    def columns(self, target):
        literal = target.replace("\\", "\\\\").replace("'", "\\'")
        base = self.database.replace("\\", "\\\\").replace("'", "\\'")
        listed = self.ask(f"SELECT name, type FROM system.columns WHERE database = '{base}' AND table = '{literal}' FORMAT JSONCompact")
        return dict(json.loads(listed)["data"])

    def value(self, ty, value):
        kind, raw = value
        if kind == "null":
            return b"\\N"
        if kind == "bytes" and "Int" in ty:
            return str(int.from_bytes(raw, "big")).encode()
        for plain, escaped in ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\0", b"\\0")):
            raw = raw.replace(plain, escaped)
        return raw

    def load(self, target, columns, types, batches):
        sql = f"INSERT INTO {self.quoted(target)} ({', '.join(map(self.quoted, columns))}) FORMAT TabSeparated"
        loaded, lines = 0, []
        for row in batches:
            lines.append(b"\t".join(self.value(ty, value) for (ty, _), value in zip(types, row)))
            loaded += 1
            if len(lines) == BATCH:
                self.ask(sql, b"\n".join(lines) + b"\n")
                lines = []
        if lines:
            self.ask(sql, b"\n".join(lines) + b"\n")
        return loaded

    def begin(self):
        pass

    def commit(self):
        pass


def load(arguments):
    target = SQLite(arguments.sqlite) if arguments.sqlite else ClickHouse(arguments.clickhouse, arguments.database, arguments.user)
    (missing, ruled), dumped = wanted(arguments.found, arguments.sink), tables_of(arguments.dump)
    may_load(target, missing, ruled, dumped)
    for table in sorted(dumped.keys() - missing.keys()):
        print(f"   left out  {table}: it is not among the tables that the sink lacks", file=sys.stderr)
    target.begin()
    made = {}
    for table, statement in missing.items():
        made[table] = target.make(statement)
        print(f"   made  {statement}", file=sys.stderr)
    counts = dict.fromkeys(made, 0)
    for table, columns, rows in rows_of(arguments.dump, made):
        there = target.columns(made[table])
        types = [(there[column], column in dumped[table].floats) for column in columns]
        counts[table] += target.load(made[table], columns, types, rows)
    target.commit()
    for table, count in counts.items():
        print(f"   {count} rows of {table}", file=sys.stderr)


def adopted(arguments):
    own, _ = findings(arguments.found, arguments.sink)
    for item in own:
        print(f"   {item['status']}  {item['detail']}", file=sys.stderr)
    if not own or any(item["status"] != "ok" for item in own):
        raise Refused("`replicator check` says what is different")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    of_position = verbs.add_parser("position")
    of_position.add_argument("dump")
    of_load = verbs.add_parser("load")
    of_load.add_argument("dump")
    of_adopted = verbs.add_parser("adopted")
    for verb in (of_load, of_adopted):
        verb.add_argument("--check", dest="found", required=True)
        verb.add_argument("--sink", required=True)
    for option in ("--sqlite", "--clickhouse", "--database", "--user"):
        of_load.add_argument(option)
    arguments = parser.parse_args()
    try:
        if arguments.verb == "position":
            print(position(arguments.dump))
        elif arguments.verb == "load":
            load(arguments)
        else:
            adopted(arguments)
    except (Refused, sqlite3.Error, OSError) as error:
        print(f"handoff: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
