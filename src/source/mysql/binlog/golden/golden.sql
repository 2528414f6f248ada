-- What the two golden binlogs hold, on MySQL 9.7 (mysql-9.7.binlog) and MariaDB 10.11 (mariadb-10.11.binlog): run between two FLUSH BINARY LOGS
-- in a database `golden`, then a copy of the file. The expected items stand beside them (*.txt).
CREATE TABLE types (
 y YEAR, i1 TINYINT UNSIGNED, i2 SMALLINT, y2 YEAR, i3 MEDIUMINT UNSIGNED, i4 INT, i8 BIGINT UNSIGNED, d DECIMAL(10,2) UNSIGNED, f FLOAT UNSIGNED, g DOUBLE,
 b BIT(11), c CHAR(10) CHARACTER SET latin1, c2 CHAR(200) CHARACTER SET utf8mb4, v VARCHAR(300) CHARACTER SET utf8mb4, bi BINARY(16), vb VARBINARY(300),
 tt TINYTEXT CHARACTER SET utf8mb4, tx TEXT CHARACTER SET latin1, mt MEDIUMTEXT CHARACTER SET latin1, lt LONGTEXT CHARACTER SET utf8mb4, tb TINYBLOB, bb BLOB, lb LONGBLOB,
 geo GEOMETRY, j JSON, e ENUM('a','b','\'') CHARACTER SET latin1, s SET('x','y','z') CHARACTER SET utf8mb4, da DATE, ti TIME(3), dt DATETIME(6), ts TIMESTAMP(2) NULL,
 id INT NOT NULL, PRIMARY KEY (id, c)) CHARACTER SET latin1;
INSERT INTO types (id,c,i1,v) VALUES (7,'k',200,'hello'),(8,'l',1,'there');
UPDATE types SET i1=201 WHERE id=7;
BEGIN; DELETE FROM types WHERE id=8; SAVEPOINT a; INSERT INTO types (id,c) VALUES (10,'q'); ROLLBACK TO a; INSERT INTO types (id,c) VALUES (11,'r'); COMMIT;
CREATE TABLE copied (PRIMARY KEY (id)) AS SELECT id, v FROM types;
ALTER TABLE copied ADD COLUMN n INT NULL;
INSERT INTO copied (id, n) VALUES (100, 1);
CREATE TABLE hidden (a INT) ENGINE=MyISAM;
INSERT INTO hidden VALUES (1),(2);
XA START 'x1'; INSERT INTO copied (id) VALUES (77); XA END 'x1'; XA COMMIT 'x1' ONE PHASE;
TRUNCATE copied;
DROP TABLE copied;
