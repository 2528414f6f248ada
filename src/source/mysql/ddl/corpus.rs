//! Statements as the servers write them, with what each must be read as. Every field of the answer is compared, by a
//! short rendering that names all of them.

use proptest::prelude::*;

use super::{AlterOp, AlterOps, CreateTable, SqlMode, Statement, TypeName, XaStep, parse};
use crate::model::TableName;

fn list(tables: &[TableName]) -> String {
    tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn render_create(create: &CreateTable) -> String {
    let CreateTable { table, columns, like, as_select, if_not_exists, or_replace, temporary, .. } = create;
    let CreateTable { engine, system_versioned, starts_transaction, is_sequence, union, .. } = create;
    let mut text = format!("create {table}");
    for (flag, name) in [
        (or_replace, " or-replace"),
        (temporary, " temporary"),
        (if_not_exists, " if-not-exists"),
        (as_select, " select"),
        (starts_transaction, " starts"),
        (system_versioned, " versioned"),
        (is_sequence, " sequence"),
    ] {
        if *flag {
            text.push_str(name);
        }
    }
    if let Some(engine) = engine {
        text.extend([" engine:", &engine.to_ascii_lowercase()]);
    }
    if let Some(union) = union {
        text.extend([" of(", &list(union), ")"]);
    }
    if let Some(like) = like {
        text.extend([" like ", &like.to_string()]);
    }
    if let Some(columns) = columns {
        let columns = columns.iter().map(|(name, ty)| format!("{name}{}", render_type(*ty))).collect::<Vec<_>>();
        text.extend([" [", &columns.join(" "), "]"]);
    }
    text
}

fn render_type(ty: TypeName) -> &'static str {
    match ty {
        TypeName::Uuid => ":uuid",
        TypeName::Inet6 => ":inet6",
        TypeName::Inet4 => ":inet4",
        TypeName::Other => "",
    }
}

fn render_op(op: &AlterOp) -> String {
    match op {
        AlterOp::AddColumn { name, position_given, ty, if_not_exists, default: _, definition: _, stated: _ } => {
            let (place, condition) = (if *position_given { "@" } else { "" }, if *if_not_exists { "?" } else { "" });
            format!("{condition}+{name}{}{place}", render_type(*ty))
        }
        AlterOp::DropColumn { name } => format!("-{name}"),
        AlterOp::RenameColumn { from, to } => format!("{from}=>{to}"),
        AlterOp::ChangeColumn { from, to, ty, if_exists, .. } => {
            format!("{}{from}~>{to}{}", if *if_exists { "?" } else { "" }, render_type(*ty))
        }
        AlterOp::ModifyColumn { name, ty, if_exists, .. } => {
            format!("{}~{name}{}", if *if_exists { "?" } else { "" }, render_type(*ty))
        }
        AlterOp::ConvertCharset => "charset".to_owned(),
        AlterOp::RenameTo(table) => format!("to:{table}"),
        AlterOp::PrimaryKeyChanged => "pk".to_owned(),
        AlterOp::IndexChanged => "index".to_owned(),
        AlterOp::Period => "period".to_owned(),
        AlterOp::SystemVersioningChanged { added } => if *added { "+versioning" } else { "-versioning" }.to_owned(),
        AlterOp::Engine(engine) => format!("engine:{}", engine.to_ascii_lowercase()),
        AlterOp::Sequence(is_sequence) => if *is_sequence { "+sequence" } else { "-sequence" }.to_owned(),
        AlterOp::Union(tables) => format!("of({})", list(tables)),
        AlterOp::RowsChangedUnseen { what, other: None } => format!("!{what:?}"),
        AlterOp::RowsChangedUnseen { what, other: Some(other) } => format!("!{what:?}({other})"),
        AlterOp::Other => "other".to_owned(),
    }
}

fn render(statement: &Statement) -> String {
    match statement {
        Statement::Begin => "begin".to_owned(),
        Statement::Commit => "commit".to_owned(),
        Statement::Rollback => "rollback".to_owned(),
        Statement::Savepoint(name) => format!("savepoint {name}"),
        Statement::ReleaseSavepoint(name) => format!("release {name}"),
        Statement::RollbackToSavepoint(name) => format!("rollback to {name}"),
        Statement::Xa { step, xid } => match step {
            XaStep::Start => format!("xa start {xid}"),
            XaStep::End => format!("xa end {xid}"),
            XaStep::Prepare => format!("xa prepare {xid}"),
            XaStep::Commit { one_phase: false } => format!("xa commit {xid}"),
            XaStep::Commit { one_phase: true } => format!("xa commit in one phase {xid}"),
            XaStep::Rollback => format!("xa rollback {xid}"),
        },
        Statement::CreateTable(create) => render_create(create),
        Statement::AlterTable { table, ops: AlterOps::Unreadable } => format!("alter {table} unreadable"),
        Statement::AlterTable { table, ops: AlterOps::Known(ops) } => {
            let mut text = format!("alter {table}");
            for op in ops {
                text.push(' ');
                text.push_str(&render_op(op));
            }
            text
        }
        Statement::RenameTable(pairs) => {
            let pairs = pairs.iter().map(|(from, to)| format!("{from}=>{to}")).collect::<Vec<_>>();
            format!("rename {}", pairs.join(" "))
        }
        Statement::CreateSequence { sequence, or_replace, temporary } => {
            let (replaces, temporary) =
                (if *or_replace { " or-replace" } else { "" }, if *temporary { " temporary" } else { "" });
            format!("create sequence {sequence}{replaces}{temporary}")
        }
        Statement::AboutSequences { sequences, temporary: false } => format!("sequences {}", list(sequences)),
        Statement::AboutSequences { sequences, temporary: true } => format!("temporary sequences {}", list(sequences)),
        Statement::DropTable { tables, temporary: false } => format!("drop {}", list(tables)),
        Statement::DropTable { tables, temporary: true } => format!("drop temporary {}", list(tables)),
        Statement::CreateDatabase { name, or_replace: false } => format!("create database {name}"),
        Statement::CreateDatabase { name, or_replace: true } => format!("create or replace database {name}"),
        Statement::DropDatabase(name) => format!("drop database {name}"),
        Statement::Truncate(table) => format!("truncate {table}"),
        Statement::IndexChange { table } => format!("index {table}"),
        Statement::Dml { tables, opaque: false } => format!("dml {}", list(tables)),
        Statement::Dml { tables, opaque: true } => format!("opaque {}", list(tables)),
        Statement::Irrelevant => "-".to_owned(),
        Statement::Unknown { first_words, mentioned } => format!("unknown <{first_words}> {}", list(mentioned)),
    }
}

const TRANSACTIONS: &[(&str, &str)] = &[
    ("BEGIN", "begin"),
    ("begin work", "begin"),
    ("START TRANSACTION", "begin"),
    ("start transaction with consistent snapshot, read only", "begin"),
    ("BEGIN;", "begin"),
    ("BEGIN NOT ATOMIC DELETE FROM a.t; END", "unknown <BEGIN NOT ATOMIC DELETE> d.ATOMIC a.t d.a d.END"),
    ("COMMIT", "commit"),
    ("COMMIT WORK AND NO CHAIN", "commit"),
    ("COMMIT /* implicit, from Xid_log_event */", "commit"),
    ("ROLLBACK", "rollback"),
    ("ROLLBACK /* added by recovery */", "rollback"),
    ("rollback work and chain", "rollback"),
    ("SAVEPOINT `sp``1`", "savepoint sp`1"),
    ("SAVEPOINT savepoint", "savepoint savepoint"),
    ("RELEASE SAVEPOINT sp1", "release sp1"),
    ("ROLLBACK TO `sp1`", "rollback to sp1"),
    ("ROLLBACK WORK TO SAVEPOINT sp1", "rollback to sp1"),
    ("ROLLBACK TO savepoint", "rollback to savepoint"),
    ("XA START X'7472',X'',1", "xa start X'7472',X'',1"),
    ("XA BEGIN 'a' JOIN", "xa start 'a'"),
    ("XA END X'7472',X'',1", "xa end X'7472',X'',1"),
    ("XA END 'a' SUSPEND FOR MIGRATE", "xa end 'a'"),
    ("XA PREPARE X'7472',X'',1", "xa prepare X'7472',X'',1"),
    ("XA COMMIT X'7472',X'',1", "xa commit X'7472',X'',1"),
    ("xa commit 'a' one phase", "xa commit in one phase 'a'"),
    ("XA ROLLBACK X'7472',X'',1", "xa rollback X'7472',X'',1"),
    ("XA RECOVER CONVERT XID", "-"),
    ("XA", "unknown <XA> "),
];

const CREATES: &[(&str, &str)] = &[
    ("CREATE TABLE t (a INT)", "create d.t [a]"),
    ("CREATE TABLE a.t (id INT, b TEXT, PRIMARY KEY (id), KEY k (b(10)))", "create a.t [id b]"),
    ("CREATE TABLE `a` . `t` (`id` INT PRIMARY KEY)", "create a.t [id]"),
    ("CREATE TABLE .t (a INT)", "create d.t [a]"),
    ("CREATE TABLE `a``b` (`c``d` INT, `e,f` INT)", "create d.a`b [c`d e,f]"),
    ("CREATE TABLE IF NOT EXISTS t (a INT)", "create d.t if-not-exists [a]"),
    ("CREATE OR REPLACE TABLE t (a INT)", "create d.t or-replace [a]"),
    ("CREATE OR REPLACE TEMPORARY TABLE t (a INT)", "create d.t or-replace temporary [a]"),
    ("CREATE TEMPORARY TABLE t (a INT)", "create d.t temporary [a]"),
    ("CREATE TABLE t LIKE a.u", "create d.t like a.u"),
    ("CREATE TABLE IF NOT EXISTS t (LIKE u)", "create d.t if-not-exists like d.u"),
    ("CREATE TABLE t SELECT * FROM u", "create d.t select"),
    ("CREATE TABLE t AS SELECT 1 AS a", "create d.t select"),
    ("CREATE TABLE t (SELECT 1)", "create d.t select"),
    ("CREATE TABLE t ((SELECT 1) UNION (SELECT 2))", "create d.t select"),
    ("CREATE TABLE t (a INT) SELECT b FROM u", "create d.t select"),
    ("CREATE TABLE t (a INT) ENGINE=InnoDB IGNORE AS (SELECT b FROM u)", "create d.t select engine:innodb"),
    ("CREATE TABLE t WITH c AS (SELECT 1) SELECT * FROM c", "create d.t select"),
    ("CREATE TABLE t AS TABLE u", "create d.t select"),
    ("CREATE TABLE t (a INT) START TRANSACTION", "create d.t starts [a]"),
    (
        "CREATE TABLE `t` (\n  `a` int DEFAULT NULL,\n  `b` varchar(9) DEFAULT 'x,y)'\n) START TRANSACTION",
        "create d.t starts [a b]",
    ),
    (
        "CREATE TABLE t (a DECIMAL(10,2) DEFAULT (1 + (2 * 3)), b ENUM('x','y)') CHECK (b IN ('x', 'y')))",
        "create d.t [a b]",
    ),
    ("CREATE TABLE t (a INT COMMENT 'it''s, (a) \\' trap', b INT)", "create d.t [a b]"),
    (
        "CREATE TABLE t (a INT, b INT GENERATED ALWAYS AS (a + 1) STORED, UNIQUE KEY (a), CHECK (a > 0))",
        "create d.t [a b]",
    ),
    (
        "CREATE TABLE t (a INT, CONSTRAINT pk PRIMARY KEY (a), CONSTRAINT f FOREIGN KEY (a) REFERENCES u (b, c))",
        "create d.t [a]",
    ),
    (
        "CREATE TABLE t (a INT, FULLTEXT KEY (a), SPATIAL INDEX (a), VECTOR INDEX (v), INDEX ((a + 1), (a * 2)))",
        "create d.t [a]",
    ),
    (
        "CREATE TABLE t (first INT, after INT, `column` INT, period INT, vector VECTOR(3))",
        "create d.t [first after column period vector]",
    ),
    ("CREATE TABLE t (a INT /* b INT, */, -- c INT\n d INT # e\n)", "create d.t [a d]"),
    (
        "CREATE TABLE t (a INT /*!80023 INVISIBLE */, b INT) /*!50100 PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE) */",
        "create d.t [a b]",
    ),
    ("CREATE TABLE t (a INT) PARTITION BY HASH ((a + 1)) PARTITIONS 4", "create d.t [a]"),
    (
        "CREATE TABLE t (a INT) PARTITION BY LIST COLUMNS (a) (PARTITION p VALUES IN (1, 2) COMMENT = 'select')",
        "create d.t [a]",
    ),
    (
        "CREATE TABLE t (a INT) ENGINE=MERGE UNION=(x, y), COMMENT='AS SELECT', AUTO_INCREMENT 5",
        "create d.t engine:merge of(d.x d.y) [a]",
    ),
    ("CREATE TABLE t (a INT) UNION=() INSERT_METHOD=LAST ENGINE MRG_MyISAM", "create d.t engine:mrg_myisam of() [a]"),
    ("CREATE TABLE t (a INT) UNION (`x`, a.`y`)", "create d.t of(d.x a.y) [a]"),
    ("CREATE TABLE t (a BIGINT) SEQUENCE=1 ENGINE=InnoDB", "create d.t sequence engine:innodb [a]"),
    ("CREATE TABLE t (a BIGINT, sequence INT) SEQUENCE 0", "create d.t [a sequence]"),
    ("CREATE TABLE t (a INT, b INT WITH SYSTEM VERSIONING)", "create d.t versioned [a b]"),
    ("CREATE TABLE t (a INT, b INT WITHOUT SYSTEM VERSIONING)", "create d.t [a b]"),
    (
        "CREATE TABLE t (a INT, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "create d.t versioned [a s e]",
    ),
    ("CREATE TABLE t (a INT) /*M!100307 WITH SYSTEM VERSIONING */", "create d.t versioned [a]"),
    (
        "CREATE TABLE t (id SERIAL, u UUID DEFAULT uuid(), i INET6, c VARCHAR(10) COMPRESSED)",
        "create d.t [id u:uuid i:inet6 c]",
    ),
    ("CREATE TABLE t ENGINE=CONNECT TABLE_TYPE=MYSQL", "create d.t engine:connect"),
    ("CREATE TABLE t (a INT", "create d.t"),
    ("CREATE TABLE t (a INT, 'b' INT)", "create d.t"),
    ("CREATE TABLE caf\u{e9}.`\u{65e5}\u{672c}` (\u{540d} INT)", "create caf\u{e9}.\u{65e5}\u{672c} [\u{540d}]"),
    ("CREATE TABLE a.b.c (a INT)", "unknown <CREATE TABLE a> a.b d.a"),
    ("CREATE TABLE", "unknown <CREATE TABLE> "),
    ("/* app:web */ CREATE /*!32312 IF NOT EXISTS*/ TABLE t (a INT)", "unknown <CREATE IF NOT EXISTS> d.t d.a"),
    ("CREATE TABLE /*!32312 IF NOT EXISTS*/ `t` (a INT)", "create d.t if-not-exists [a]"),
];

const ALTERS: &[(&str, &str)] = &[
    ("ALTER TABLE t", "alter d.t"),
    ("ALTER TABLE t;", "alter d.t"),
    ("ALTER TABLE a.t ADD COLUMN c INT", "alter a.t +c"),
    ("ALTER TABLE t ADD c INT", "alter d.t +c"),
    ("ALTER TABLE t ADD c INT AFTER b", "alter d.t +c@"),
    ("ALTER TABLE t ADD COLUMN first INT FIRST", "alter d.t +first@"),
    ("ALTER TABLE t ADD COLUMN after INT AFTER first", "alter d.t +after@"),
    ("ALTER TABLE t ADD COLUMN `column` INT", "alter d.t +column"),
    ("ALTER TABLE t ADD `index` INT, ADD `key` INT", "alter d.t +index +key"),
    ("ALTER TABLE t ADD COLUMN IF NOT EXISTS c INT, ADD IF NOT EXISTS e INT", "alter d.t ?+c ?+e"),
    ("ALTER TABLE t ADD (a INT, b INT DEFAULT 5)", "alter d.t +a +b"),
    (
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS (a INT, PRIMARY KEY (a), b ENUM('x,y', ')'), KEY (b)), DROP c",
        "alter d.t ?+a pk ?+b other -c",
    ),
    ("ALTER TABLE t ADD c INT DEFAULT (json_array(1, 2)), ADD e INT", "alter d.t +c +e"),
    (
        "ALTER TABLE t ADD c DATETIME DEFAULT current_timestamp() ON UPDATE current_timestamp(), DROP e",
        "alter d.t +c -e",
    ),
    (
        "ALTER TABLE t ADD c VARCHAR(9) DEFAULT concat('a', ',') COMMENT 'x, DROP COLUMN y', ADD e INT",
        "alter d.t +c +e",
    ),
    ("ALTER TABLE t ADD c INT UNIQUE", "alter d.t +c index"),
    ("ALTER TABLE t ADD c INT PRIMARY KEY AUTO_INCREMENT FIRST", "alter d.t +c@ pk"),
    ("ALTER TABLE t ADD c INT PARTITION BY KEY (c) PARTITIONS 4", "alter d.t +c"),
    ("ALTER TABLE t ADD c INT REFERENCES u (x, y) ON DELETE SET NULL", "alter d.t +c"),
    ("ALTER TABLE t ADD PRIMARY KEY (a, b)", "alter d.t pk"),
    ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY USING BTREE (a)", "alter d.t pk pk"),
    ("ALTER TABLE t ADD CONSTRAINT PRIMARY KEY (a)", "alter d.t pk"),
    ("ALTER TABLE t ADD CONSTRAINT IF NOT EXISTS c CHECK (a > 0)", "alter d.t other"),
    (
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE (a), ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES x (y)",
        "alter d.t index other",
    ),
    (
        "ALTER TABLE t ADD INDEX i (a), ADD KEY (b), ADD UNIQUE (c), ADD FULLTEXT KEY (d), ADD SPATIAL INDEX (g)",
        "alter d.t other other index other other",
    ),
    ("ALTER TABLE t ADD INDEX IF NOT EXISTS i (a)", "alter d.t other"),
    ("ALTER TABLE t ADD VECTOR INDEX (v) DISTANCE=cosine", "alter d.t other"),
    ("ALTER TABLE t ADD vector VECTOR(3)", "alter d.t +vector"),
    ("ALTER TABLE t ADD CHECK (a > 0), ADD FOREIGN KEY (a) REFERENCES u (b)", "alter d.t other other"),
    ("ALTER TABLE t ADD PERIOD FOR SYSTEM_TIME (s, e), ADD SYSTEM VERSIONING", "alter d.t period +versioning"),
    ("ALTER TABLE t ADD PERIOD IF NOT EXISTS FOR p (s, e)", "alter d.t period"),
    ("ALTER TABLE t ADD period INT, ADD system INT", "alter d.t +period +system"),
    ("ALTER TABLE t DROP SYSTEM VERSIONING", "alter d.t -versioning"),
    ("ALTER TABLE t DROP PERIOD FOR SYSTEM_TIME", "alter d.t period"),
    ("ALTER TABLE t DROP c", "alter d.t -c"),
    ("ALTER TABLE t DROP COLUMN c, DROP COLUMN IF EXISTS e RESTRICT", "alter d.t -c -e"),
    ("ALTER TABLE t DROP period, DROP system", "alter d.t -period -system"),
    ("ALTER TABLE t DROP INDEX i, DROP KEY IF EXISTS k, DROP CONSTRAINT c", "alter d.t index index index"),
    ("ALTER TABLE t DROP INDEX `PRIMARY`, DROP CONSTRAINT `primary`", "alter d.t pk pk"),
    ("ALTER TABLE t DROP FOREIGN KEY f, DROP CHECK c", "alter d.t other other"),
    ("ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN IF EXISTS c TO e", "alter d.t a=>b c=>e"),
    ("ALTER TABLE t RENAME INDEX a TO b, RENAME KEY c TO e", "alter d.t other other"),
    ("ALTER TABLE t RENAME u", "alter d.t to:d.u"),
    ("ALTER TABLE a.t RENAME TO b.u", "alter a.t to:b.u"),
    ("ALTER TABLE t RENAME AS u, ADD c INT", "alter d.t to:d.u +c"),
    ("ALTER TABLE t RENAME = u", "alter d.t to:d.u"),
    ("ALTER TABLE t CHANGE a b INT", "alter d.t a~>b"),
    (
        "ALTER TABLE t CHANGE COLUMN IF EXISTS `a` `b` INT NOT NULL FIRST, ALGORITHM=INPLACE, LOCK=NONE",
        "alter d.t ?a~>b other other",
    ),
    ("ALTER TABLE t CHANGE a a BIGINT KEY", "alter d.t a~>a pk"),
    ("ALTER TABLE t MODIFY a BIGINT UNSIGNED, MODIFY COLUMN IF EXISTS b TEXT AFTER c", "alter d.t ~a ?~b"),
    ("ALTER TABLE t MODIFY t.a INT", "alter d.t ~a"),
    (
        "ALTER TABLE t ADD u UUID NOT NULL DEFAULT uuid() FIRST, ADD (a inet6, uuid INT), MODIFY b INET4, CHANGE c d UUID",
        "alter d.t +u:uuid@ +a:inet6 +uuid ~b:inet4 c~>d:uuid",
    ),
    ("ALTER TABLE t MODIFY uuid BINARY(16), MODIFY `inet6` mariadb_schema.UUID", "alter d.t ~uuid ~inet6:uuid"),
    // The names of types may stand in quotes.
    (
        "ALTER TABLE t ADD u `uuid`, MODIFY i `Inet6` NOT NULL, CHANGE a b `mariadb_schema`.`inet4`, ADD COLUMN (c `binary`(16))",
        "alter d.t +u:uuid ~i:inet6 a~>b:inet4 +c",
    ),
    ("CREATE TABLE t (u `UUID`, s \"uuid\")", "create d.t [u:uuid s]"),
    (
        "ALTER TABLE t ADD IF NOT EXISTS a UUID, MODIFY IF EXISTS b UUID, CHANGE COLUMN IF EXISTS c d INET6, ADD COLUMN IF NOT EXISTS (e INT)",
        "alter d.t ?+a:uuid ?~b:uuid ?c~>d:inet6 ?+e",
    ),
    (
        "ALTER TABLE t ALTER a SET DEFAULT 5, ALTER COLUMN b DROP DEFAULT, ALTER c SET DEFAULT (1, 2)",
        "alter d.t other other other",
    ),
    (
        "ALTER TABLE t ALTER INDEX i INVISIBLE, ALTER CHECK c NOT ENFORCED, ALTER COLUMN a SET INVISIBLE",
        "alter d.t other other other",
    ),
    ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "alter d.t charset"),
    ("ALTER TABLE t DEFAULT CHARACTER SET = utf8mb4, COLLATE utf8mb4_bin", "alter d.t other other"),
    ("ALTER TABLE t ENGINE=InnoDB", "alter d.t engine:innodb"),
    (
        "ALTER TABLE t ROW_FORMAT=DYNAMIC ENGINE = `BLACKHOLE`, ALTER COLUMN engine SET DEFAULT 1",
        "alter d.t engine:blackhole other",
    ),
    ("ALTER TABLE t ENGINE InnoDB ROW_FORMAT=DYNAMIC COMMENT 'a, b' AUTO_INCREMENT 7", "alter d.t engine:innodb"),
    ("ALTER TABLE t FORCE, DISABLE KEYS, ENABLE KEYS", "alter d.t other other other"),
    (
        "ALTER TABLE t UNION=(a, b), DATA DIRECTORY='/x', TABLESPACE ts, STATS_PERSISTENT=1",
        "alter d.t of(d.a d.b) other other other",
    ),
    ("ALTER TABLE t UNION=(), INSERT_METHOD=NO", "alter d.t of() other"),
    ("ALTER TABLE t ENGINE=MERGE UNION=(a.x) INSERT_METHOD=LAST", "alter d.t engine:merge of(a.x)"),
    ("ALTER TABLE t SEQUENCE=0", "alter d.t -sequence"),
    ("ALTER TABLE t COMMENT 'x' SEQUENCE 1, ADD sequence INT", "alter d.t +sequence +sequence"),
    ("ALTER TABLE t some_engine_option=5, ADD c INT", "alter d.t other +c"),
    ("ALTER TABLE t ORDER BY a, b DESC", "alter d.t other other"),
    ("ALTER TABLE t ORDER BY a, ADD c INT", "alter d.t other +c"),
    ("ALTER TABLE t SECONDARY_LOAD", "alter d.t other"),
    (
        "ALTER TABLE t PARTITION BY RANGE COLUMNS (a, b) (PARTITION p0 VALUES LESS THAN (1, 2), PARTITION p1 VALUES LESS THAN (3, 4))",
        "alter d.t other",
    ),
    ("ALTER TABLE t REMOVE PARTITIONING", "alter d.t other"),
    ("ALTER TABLE t ADD PARTITION (PARTITION p2 VALUES LESS THAN (20)), ADD c INT", "alter d.t other"),
    ("ALTER TABLE t REORGANIZE PARTITION p0, p1 INTO (PARTITION p2 VALUES LESS THAN (20))", "alter d.t other"),
    ("ALTER TABLE t REBUILD PARTITION p0, p1", "alter d.t other"),
    ("ALTER TABLE t COALESCE PARTITION 2", "alter d.t other"),
    ("ALTER TABLE t DROP PARTITION p0, p1", "alter d.t !DropPartition"),
    ("ALTER TABLE t DROP PARTITION IF EXISTS p0", "alter d.t !DropPartition"),
    ("ALTER TABLE t ALGORITHM=INPLACE, TRUNCATE PARTITION ALL", "alter d.t other !TruncatePartition"),
    ("ALTER TABLE t EXCHANGE PARTITION p0 WITH TABLE a.u WITHOUT VALIDATION", "alter d.t !ExchangePartition(a.u)"),
    ("ALTER TABLE t CONVERT PARTITION p0 TO TABLE u", "alter d.t !ConvertPartition(d.u)"),
    ("ALTER TABLE t CONVERT TABLE u TO PARTITION p0 VALUES LESS THAN (5)", "alter d.t !ConvertPartition(d.u)"),
    ("ALTER TABLE t DISCARD TABLESPACE", "alter d.t !DiscardTablespace"),
    ("ALTER TABLE t IMPORT PARTITION p0, p1 TABLESPACE", "alter d.t !ImportTablespace"),
    ("ALTER IGNORE TABLE t ADD UNIQUE (a)", "alter d.t index !AlterIgnore"),
    ("ALTER IGNORE TABLE t ADD c INT", "alter d.t +c"),
    ("ALTER ONLINE TABLE t ADD c INT", "alter d.t +c"),
    ("ALTER ONLINE IGNORE TABLE IF EXISTS t MODIFY a TINYINT", "alter d.t ~a !AlterIgnore"),
    ("ALTER TABLE IF EXISTS t WAIT 10 ADD c INT", "alter d.t +c"),
    ("ALTER TABLE t NOWAIT ADD c INT, LOCK=NONE", "alter d.t +c other"),
    ("/*!40000 ALTER TABLE `t` DISABLE KEYS */", "alter d.t other"),
    ("alter/**/table`t`add`c`int", "alter d.t +c"),
    ("SET STATEMENT max_statement_time=1000, lock_wait_timeout=5 FOR ALTER TABLE t ADD c INT", "alter d.t +c"),
    ("ALTER TABLE t frobnicate c", "alter d.t unreadable"),
    ("ALTER TABLE t ADD c INT,", "alter d.t unreadable"),
    ("ALTER TABLE t ADD c INT)", "alter d.t unreadable"),
    ("ALTER TABLE t ADD (c INT", "alter d.t unreadable"),
    ("ALTER TABLE t RENAME COLUMN a", "alter d.t unreadable"),
    ("ALTER TABLE t DROP", "alter d.t unreadable"),
    ("ALTER TABLE 'a' ADD c INT", "unknown <ALTER TABLE> d.c"),
];

const OTHER_TABLE_STATEMENTS: &[(&str, &str)] = &[
    ("RENAME TABLE t TO u", "rename d.t=>d.u"),
    ("RENAME TABLE a.t TO b.t, `x` TO `y`, y TO a.z", "rename a.t=>b.t d.x=>d.y d.y=>a.z"),
    ("RENAME TABLES t TO u", "rename d.t=>d.u"),
    ("RENAME TABLE IF EXISTS t WAIT 5 TO u, x NOWAIT TO y", "rename d.t=>d.u d.x=>d.y"),
    ("RENAME TABLE t", "unknown <RENAME TABLE t> d.t"),
    ("RENAME TABLE t TO u v", "unknown <RENAME TABLE t TO> d.t d.u d.v"),
    ("DROP TABLE t", "drop d.t"),
    ("DROP TABLE IF EXISTS `a`.`t`,`u` /* generated by server */", "drop a.t d.u"),
    ("DROP TABLES a.t, b.u CASCADE", "drop a.t b.u"),
    ("DROP TABLE t WAIT 5", "drop d.t"),
    ("DROP TEMPORARY TABLE IF EXISTS `t` /* generated by server */", "drop temporary d.t"),
    ("DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`", "drop temporary d.t"),
    ("DROP TABLE", "unknown <DROP TABLE> "),
    ("DROP SEQUENCE IF EXISTS s, a.t /* generated by server */", "sequences d.s a.t"),
    ("DROP TEMPORARY SEQUENCE IF EXISTS `d`.`s` /* generated by server */", "temporary sequences d.s"),
    ("ALTER SEQUENCE IF EXISTS s RESTART 50", "sequences d.s"),
    ("CREATE SEQUENCE s START WITH 1 INCREMENT BY 1", "create sequence d.s"),
    ("CREATE OR REPLACE SEQUENCE a.s", "create sequence a.s or-replace"),
    ("CREATE TEMPORARY SEQUENCE IF NOT EXISTS s", "create sequence d.s temporary"),
    ("TRUNCATE TABLE t", "truncate d.t"),
    ("TRUNCATE a.t", "truncate a.t"),
    ("TRUNCATE TABLE `a`.`t` /* generated by server */", "truncate a.t"),
    ("TRUNCATE TABLE `a`.`t` /* generated by server, implicitly emptying in-memory table */", "truncate a.t"),
    ("TRUNCATE t NOWAIT", "truncate d.t"),
    ("TRUNCATE", "unknown <TRUNCATE> "),
    ("CREATE DATABASE a", "create database a"),
    ("CREATE DATABASE /*!32312 IF NOT EXISTS*/ `a` /*!40100 DEFAULT CHARACTER SET utf8mb4 */", "create database a"),
    ("CREATE OR REPLACE SCHEMA a", "create or replace database a"),
    ("DROP DATABASE IF EXISTS `a-b`", "drop database a-b"),
    ("DROP SCHEMA a", "drop database a"),
    ("ALTER DATABASE a CHARACTER SET utf8mb4", "-"),
    ("CREATE INDEX i ON t (a, b)", "index d.t"),
    ("CREATE OR REPLACE UNIQUE INDEX IF NOT EXISTS i USING BTREE ON a.t (a)", "index a.t"),
    ("CREATE ONLINE FULLTEXT INDEX `on` ON t (a)", "index d.t"),
    ("CREATE VECTOR INDEX i ON t (v)", "index d.t"),
    ("DROP INDEX `PRIMARY` ON t", "index d.t"),
    ("DROP INDEX IF EXISTS i ON a.t ALGORITHM=INPLACE", "index a.t"),
    ("DROP INDEX i", "unknown <DROP INDEX i> d.i"),
];

const WRITES: &[(&str, &str)] = &[
    ("INSERT INTO t VALUES (1, 'x.y')", "dml d.t"),
    ("INSERT INTO a.t (b) SELECT c FROM e.f", "dml a.t"),
    ("insert ignore t set a = 1", "dml d.t"),
    ("INSERT DELAYED IGNORE INTO `a`.`t` VALUES (1) ON DUPLICATE KEY UPDATE b = 2", "dml a.t"),
    (
        "INSERT INTO mysql.rds_heartbeat2 (id, value) VALUES (1, 2) ON DUPLICATE KEY UPDATE value = 2",
        "dml mysql.rds_heartbeat2",
    ),
    ("REPLACE t SET a = 1", "dml d.t"),
    (
        "REPLACE INTO `percona`.`checksums` (db, tbl) SELECT 'a', count(*) FROM `a`.`t` FORCE INDEX (`PRIMARY`)",
        "dml percona.checksums",
    ),
    ("INSERT INTO (t) VALUES (1)", "dml d.t"),
    ("UPDATE a.t SET x = (SELECT y FROM u)", "dml a.t"),
    ("UPDATE LOW_PRIORITY IGNORE t PARTITION (p0, p1) AS x SET x.y = 1", "dml d.t"),
    ("UPDATE t FOR PORTION OF p FROM '1' TO '2' SET x = 1", "dml d.t"),
    ("UPDATE a.t, u SET t.x = 1", "dml a.t d.a d.u t.x d.t"),
    ("UPDATE a.t JOIN u USING (x) SET t.y = 1", "dml a.t d.a d.u d.x t.y d.t"),
    ("UPDATE (SELECT 1) x JOIN t SET t.y = 1", "dml d.x d.t t.y"),
    ("DELETE FROM `a`.`t`", "dml a.t"),
    ("DELETE FROM .t", "dml d.t"),
    ("DELETE QUICK FROM t x WHERE a IN (SELECT b FROM c) ORDER BY e LIMIT 5", "dml d.t"),
    ("DELETE HISTORY FROM t BEFORE SYSTEM_TIME '2020-01-01'", "dml d.t"),
    ("DELETE a.t, b.* FROM a.t, b", "dml a.t d.a d.b"),
    ("DELETE FROM t USING t JOIN u WHERE t.x = 1", "dml d.t d.u t.x"),
    ("DELETE FROM t, u USING t INNER JOIN u", "dml d.t d.u"),
    ("WITH c AS (SELECT 1) UPDATE t SET a = 1", "dml d.c d.t d.a"),
    ("LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE a.t FIELDS TERMINATED BY ',' (b, c)", "dml a.t"),
    ("LOAD XML INFILE 'x' INTO TABLE t", "dml d.t"),
    ("LOAD DATA INFILE 'x', INTO t", "dml d.DATA d.t"),
    ("LOAD INDEX INTO CACHE t", "-"),
    ("ANALYZE FORMAT=JSON UPDATE t SET a = 1", "dml d.FORMAT d.JSON d.t d.a"),
    ("SET STATEMENT a=(SELECT 1 FOR UPDATE) FOR DELETE FROM t", "dml d.t"),
    ("CALL a.p(1)", "opaque a.p d.a"),
    ("DO f(1)", "opaque d.f"),
    ("SELECT `a`.`f`(1)", "opaque a.f d.a"),
    ("(SELECT 1 FROM t) UNION SELECT 2", "opaque d.t"),
    ("TABLE t UNION VALUES ROW(1)", "opaque d.t d.ROW"),
    ("EXECUTE IMMEDIATE 'DELETE FROM t'", "opaque d.IMMEDIATE"),
];

const IRRELEVANT: &[&str] = &[
    "",
    "  \n\t ",
    ";",
    "# Dummy event replacing event type 160",
    "/* nothing */ -- at all",
    "GRANT ALL PRIVILEGES ON a.* TO 'u'@'%'",
    "GRANT r TO u",
    "REVOKE IF EXISTS SELECT ON t FROM u",
    "CREATE USER IF NOT EXISTS 'u'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$x'",
    "CREATE OR REPLACE USER u",
    "ALTER USER 'u'@'localhost' IDENTIFIED BY 'x' RETAIN CURRENT PASSWORD",
    "ALTER USER u DISCARD OLD PASSWORD",
    "RENAME USER a TO b",
    "DROP USER IF EXISTS a, b",
    "SET PASSWORD FOR u = 'x'",
    "SET DEFAULT ROLE ALL TO u",
    "CREATE ROLE r",
    "DROP ROLE r",
    "SET GLOBAL max_connections = 5",
    "SET @a = 1",
    "SET NAMES utf8mb4",
    "CREATE OR REPLACE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER VIEW v AS SELECT * FROM t",
    "CREATE VIEW v AS SELECT 1",
    "ALTER VIEW v AS SELECT 2",
    "ALTER ALGORITHM=MERGE VIEW v AS SELECT 2",
    "DROP VIEW IF EXISTS v, w",
    "CREATE DEFINER=`root`@`%` TRIGGER tr BEFORE INSERT ON t FOR EACH ROW BEGIN DELETE FROM u; DROP TABLE x; END",
    "CREATE TRIGGER tr AFTER UPDATE ON t FOR EACH ROW SET @a = 1",
    "DROP TRIGGER IF EXISTS tr",
    "CREATE PROCEDURE p() BEGIN TRUNCATE TABLE t; END",
    "CREATE OR REPLACE FUNCTION f() RETURNS INT RETURN 1",
    "CREATE AGGREGATE FUNCTION f RETURNS INTEGER SONAME 'f.so'",
    "CREATE DEFINER=CURRENT_USER PROCEDURE p() DELETE FROM t",
    "DROP PROCEDURE p",
    "ALTER PROCEDURE p COMMENT 'x'",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t",
    "ALTER DEFINER=`root`@`%` EVENT e DISABLE",
    "DROP EVENT e",
    "CREATE PACKAGE p AS END",
    "FLUSH TABLE",
    "FLUSH TABLES t WITH READ LOCK",
    "FLUSH PRIVILEGES",
    "ANALYZE TABLE t",
    "ANALYZE LOCAL TABLE t PERSISTENT FOR ALL",
    "ANALYZE NO_WRITE_TO_BINLOG TABLES t",
    "OPTIMIZE TABLE t",
    "REPAIR TABLE t",
    "CHECK TABLE t",
    "CHECKSUM TABLE t",
    "CACHE INDEX t IN c",
    "EXPLAIN DELETE FROM t",
    "DESCRIBE t",
    "SHOW TABLES",
    "USE a",
    "LOCK TABLES t WRITE",
    "UNLOCK TABLES",
    "INSTALL PLUGIN p SONAME 'p.so'",
    "UNINSTALL COMPONENT 'file://x'",
    "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
    "CREATE TABLESPACE ts ADD DATAFILE 'x.ibd'",
    "ALTER UNDO TABLESPACE u SET INACTIVE",
    "DROP LOGFILE GROUP g ENGINE=NDB",
    "ALTER INSTANCE ROTATE INNODB MASTER KEY",
    "CREATE RESOURCE GROUP g TYPE=USER",
    "CREATE OR REPLACE SPATIAL REFERENCE SYSTEM 4120 NAME 'x' DEFINITION 'y'",
    "DROP SPATIAL REFERENCE SYSTEM IF EXISTS 4120",
    "CREATE LIBRARY l LANGUAGE JAVASCRIPT AS 'x'",
    "CREATE JSON DUALITY VIEW v AS SELECT 1",
    "PURGE BINARY LOGS TO 'x'",
    "RESET BINARY LOGS AND GTIDS",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST='x'",
    "START REPLICA",
    "STOP SLAVE",
    "START GROUP_REPLICATION",
    "BACKUP STAGE START",
    "BINLOG 'AAAA'",
    "KILL 5",
    "PREPARE s FROM 'DELETE FROM t'",
    "DROP PREPARE s",
    "HANDLER t OPEN",
    "SHUTDOWN",
];

const UNKNOWN: &[(&str, &str)] = &[
    ("FROBNICATE TABLE a.t NOW", "unknown <FROBNICATE TABLE a> a.t d.a d.NOW"),
    ("CREATE EXTERNAL TABLE t (a INT)", "unknown <CREATE EXTERNAL TABLE t> d.EXTERNAL d.t d.a"),
    ("DROP SPATIAL t", "unknown <DROP SPATIAL t> d.t"),
    ("`t`", "unknown <> d.t"),
    ("5", "unknown <> "),
    ("SET STATEMENT a=1 DELETE FROM t", "unknown <SET STATEMENT a> d.STATEMENT d.a d.t"),
    ("\u{0}\u{1}", "unknown <> "),
];

#[test]
fn every_statement_of_the_corpus_is_read_as_it_must_be() {
    let mut count = 0;
    for table in [TRANSACTIONS, CREATES, ALTERS, OTHER_TABLE_STATEMENTS, WRITES, UNKNOWN] {
        for (sql, expected) in table {
            assert_eq!(render(&parse(sql, "d", SqlMode::default())), *expected, "{sql}");
            count += 1;
        }
    }
    assert!(count >= 150, "{count} statements");
}

#[test]
fn what_cannot_change_a_table_is_irrelevant() {
    for sql in IRRELEVANT {
        assert_eq!(parse(sql, "d", SqlMode::default()), Statement::Irrelevant, "{sql}");
    }
}

#[test]
fn case_and_comments_between_words_change_nothing() {
    for table in [CREATES, ALTERS, OTHER_TABLE_STATEMENTS] {
        for (sql, expected) in table {
            // A comment in place of each single blank outside quotes; texts with quotes or comments of their own are left.
            if expected.starts_with("unknown") || sql.contains(['\'', '-', '#', '*', '\n']) {
                continue;
            }
            let commented = sql.replace(' ', " /* ' */\n");
            assert_eq!(render(&parse(&commented, "d", SqlMode::default())), *expected, "{commented}");
        }
    }
}

#[test]
fn quotes_follow_the_sql_mode() {
    let sql = r#"CREATE TABLE "a"."t" ("b""c" INT DEFAULT '\', "e" INT)"#;
    let mode = SqlMode { ansi_quotes: true, no_backslash_escapes: true, ..SqlMode::default() };
    assert_eq!(render(&parse(sql, "d", mode)), "create a.t [b\"c e]");
    let strings = r#"ALTER TABLE t ADD a TEXT DEFAULT "x, DROP COLUMN b\"", DROP c"#;
    assert_eq!(render(&parse(strings, "d", SqlMode::default())), "alter d.t +a -c");
}

#[test]
fn deep_nesting_costs_no_stack() {
    let open = "(".repeat(200_000);
    let sql = format!("ALTER TABLE t ADD c INT DEFAULT {open}");
    assert_eq!(render(&parse(&sql, "d", SqlMode::default())), "alter d.t +c");
    assert_eq!(render(&parse(&open, "d", SqlMode::default())), "opaque ");
    let settings = "SET STATEMENT a=1 FOR ".repeat(50_000);
    assert_eq!(render(&parse(&format!("{settings}TRUNCATE t"), "d", SqlMode::default())), "truncate d.t");
}

/// Texts made of the words that mean something here, so that the rare paths are met.
fn sql_like() -> impl Strategy<Value = String> {
    let words = [
        "ALTER",
        "TABLE",
        "ADD",
        "COLUMN",
        "DROP",
        "RENAME",
        "TO",
        "CREATE",
        "IF",
        "NOT",
        "EXISTS",
        "(",
        ")",
        ",",
        ".",
        ";",
        "=",
        "t",
        "`a`",
        "'x'",
        "PRIMARY",
        "KEY",
        "CONSTRAINT",
        "PARTITION",
        "CONVERT",
        "EXCHANGE",
        "WITH",
        "ORDER",
        "BY",
        "LIKE",
        "SELECT",
        "AS",
        "SET",
        "STATEMENT",
        "FOR",
        "XA",
        "START",
        "WAIT",
        "5",
        "/*!50001",
        "*/",
        "--",
        "@v",
        "INDEX",
        "ON",
        "SYSTEM",
        "VERSIONING",
        "PERIOD",
        "CHANGE",
        "MODIFY",
        "FIRST",
        "AFTER",
        "ROLLBACK",
        "TRUNCATE",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(sql in ".{0,200}", ansi_quotes: bool, no_backslash_escapes: bool) {
        let statement = parse(&sql, "d", SqlMode { ansi_quotes, no_backslash_escapes, ..SqlMode::default() });
        prop_assert!(!render(&statement).is_empty());
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let statement = parse(&String::from_utf8_lossy(&bytes), "d", SqlMode::default());
        prop_assert!(!render(&statement).is_empty());
    }

    #[test]
    fn no_row_of_keywords_makes_the_parser_panic(sql in sql_like(), start in prop::sample::select(vec!["", "ALTER TABLE t ", "CREATE TABLE t "])) {
        let statement = parse(&format!("{start}{sql}"), "d", SqlMode::default());
        prop_assert!(!render(&statement).is_empty());
    }

    #[test]
    fn every_quoted_name_is_read_back(database in "[^\u{0}]{1,20}", table in "[^\u{0}]{1,20}", column in "[^\u{0}]{1,20}") {
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        let sql = format!("ALTER TABLE {}.{} DROP COLUMN {}", quoted(&database), quoted(&table), quoted(&column));
        let expected = Statement::AlterTable {
            table: TableName::new(database, table),
            ops: AlterOps::Known(vec![AlterOp::DropColumn { name: column }]),
        };
        prop_assert_eq!(parse(&sql, "d", SqlMode::default()), expected);
    }
}
