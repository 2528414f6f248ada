#!/usr/bin/env python3
"""Reads a dump of mysqldump or mariadb-dump for scripts/handoff.sh: its place in the binlog, and its rows into the tables of a sink.

Rows are read from the INSERT statements. A value is written as replicator writes it, by the type of
the column at the target. What a rule of the sink renames, drops or hashes is not known here: such a table is refused by name.
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


def rows_of(path):
    """Table, columns, and rows of (kind, bytes) for each line of an INSERT: mariadb-dump has a line for each row, mysqldump one for all."""
    open_insert = None
    with open(path, "rb") as dump:
        for line in dump:
            at = 0
            if open_insert is None:
                if not line.startswith(b"INSERT INTO "):
                    continue
                head = INSERT.match(line)
                if not head:
                    raise Refused("an INSERT of the dump has no list of columns: make the dump with --complete-insert")
                open_insert = name_of(head[1]), [name_of(quoted) for quoted in NAME.findall(head[2])]
                at = head.end()
            rows, ends = values_of(line, at)
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


def floats_of(path):
    """The columns of type FLOAT, whose four bytes replicator widens."""
    floats, table = set(), None
    with open(path, "rb") as dump:
        for line in dump:
            found = re.match(rb"CREATE TABLE (?:IF NOT EXISTS )?`((?:[^`]|``)+)`", line)
            if found:
                table = name_of(found[1])
            elif table and (found := re.match(rb"\s+`((?:[^`]|``)+)` float\b", line)):
                floats.add((table, name_of(found[1])))
            elif line.startswith(b")"):
                table = None
    return floats


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
    return list(zip(tables, statements))


class SQLite:
    """A file with the copies."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, isolation_level=None)

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
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        marks = ", ".join("?" for _ in columns)
        quoted = '"' + target.replace('"', '""') + '"'
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
        quote = lambda name: "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
        sql = f"INSERT INTO {quote(target)} ({', '.join(map(quote, columns))}) FORMAT TabSeparated"
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
    missing, floats = wanted(arguments.found, arguments.sink), floats_of(arguments.dump)
    target.begin()
    made = {}
    for table, statement in missing:
        made[table.split(".", 1)[1]] = target.make(statement)
        print(f"   made  {statement}", file=sys.stderr)
    counts = dict.fromkeys(made, 0)
    for table, columns, rows in rows_of(arguments.dump):
        if table not in made:
            raise Refused(f'the dump has rows of "{table}", which is not among the missing tables of the sink')
        there = target.columns(made[table])
        lacking = [column for column in columns if column not in there]
        if lacking:
            raise Refused(
                f'"{made[table]}" has no column "{lacking[0]}": a rule of the sink renames, drops or hashes it; load this table with a tool that '
                "does the same"
            )
        types = [(there[column], (table, column) in floats) for column in columns]
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
