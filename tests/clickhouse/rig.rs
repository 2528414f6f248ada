//! The sink alone, driven like the delivery loop, against the engine: for what happens between two of its steps.

use std::collections::BTreeMap;
use std::path::Path;

use replicator::codec::catalog::{Catalog, SchemaRecord};
use replicator::codec::frame::{Audience, Frame, FrameHeader, RowOp, RowsHeader, Section, TableChange, encode_header};
use replicator::codec::row_image::ImageWriter;
use replicator::codec::stored;
use replicator::codec::version::FramePlace;
use replicator::config::{SinkPlan, parse};
use replicator::error::Failure;
use replicator::model::{
    BinlogPlace, Charset, Column, ColumnDefault, ColumnType, Gtid, IntWidth, Key, KeyKind, Origin, RowCounts, SchemaId,
    SourcePlace, TableName, TableSchema,
};
use replicator::sink::clickhouse::ClickHouseSink;
use replicator::sink::{Schemas, Sink, TargetState};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use wal::{LogId, Lsn, Options, Wal};

use crate::support::clickhouse::REPLICA;
use crate::support::directory;

/// Rows of a section: one image each, or two for an update. `~` is NULL.
pub type Rows<'r> = &'r [&'r [&'r str]];

/// A sink, and the log that it is served from.
pub struct Rig {
    pub sink: ClickHouseSink,
    catalog: Catalog,
    wal: Wal,
    _appender: wal::Appender,
    _directory: TempDir,
    schemas: Vec<TableSchema>,
    next: FramePlace,
}

/// A frame with its place: what is sent once more after a failure.
#[derive(Clone)]
pub struct Sent {
    place: FramePlace,
    payload: Vec<u8>,
    schemas: Vec<SchemaId>,
}

impl Sent {
    pub fn lsn(&self) -> u64 {
        self.place.lsn.raw()
    }

    pub fn position(&self) -> u64 {
        self.place.position
    }
}

impl Rig {
    /// A sink that writes to the server at `url`, with these keys of its configuration besides.
    pub async fn new(url: &str, keys: Value) -> Self {
        let directory = directory::fresh("rig");
        let (wal, appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        let sink = ClickHouseSink::new(plan(url, &keys), Handle::current()).unwrap();
        let next = FramePlace { lsn: Lsn::new(1), position: 0 };
        let catalog = Catalog::new(wal.reader());
        let mut rig =
            Self { sink, catalog, wal, _appender: appender, _directory: directory, schemas: Vec::new(), next };
        assert_eq!(rig.open().await.unwrap(), TargetState::Fresh);
        rig
    }

    pub fn log(&self) -> LogId {
        self.wal.id()
    }

    /// Opens the target, as at the start and after every error.
    pub async fn open(&mut self) -> Result<TargetState, Failure> {
        self.sink.rollback().await;
        let state = self.sink.open(self.wal.id()).await?;
        self.sink.review(&|_| true).await?;
        Ok(state)
    }

    /// Puts a schema into the log.
    pub async fn schema(&mut self, schema: TableSchema) -> SchemaId {
        let number = u32::try_from(self.schemas.len()).unwrap() + 1;
        let value = stored::encode(&SchemaRecord::Known(schema.clone())).unwrap();
        self.wal.put_state(vec![(stored::SCHEMA.of_number(number), Some(value))]).await.unwrap();
        self.schemas.push(schema);
        SchemaId(number)
    }

    /// A frame of these sections, behind the last one. It is not written yet.
    pub fn frame(&mut self, sections: &[(SchemaId, RowOp, Rows<'_>)]) -> Sent {
        let (mut headers, mut bodies) = (Vec::new(), Vec::new());
        for (schema, op, rows) in sections {
            let before = bodies.len();
            let mut described = self.schemas[usize::try_from(schema.0).unwrap() - 1].clone();
            // A row that is gone by its key has NULL also where a column forbids it.
            described.columns.iter_mut().for_each(|column| column.nullable = true);
            let writer = ImageWriter::new(&described).unwrap();
            for row in *rows {
                let mut image = writer.row(&mut bodies);
                for value in *row {
                    if *value == "~" { image.null() } else { image.text_protocol(value.as_bytes()) }.unwrap();
                }
                image.finish().unwrap();
            }
            headers.push(Section {
                schema: *schema,
                op: *op,
                rows: u32::try_from(rows.len()).unwrap() / op.images_per_row(),
                bytes: u32::try_from(bodies.len() - before).unwrap(),
            });
        }
        let mut payload = Vec::new();
        let header = RowsHeader { origin: origin(), audience: Audience::All, sections: headers };
        encode_header(&FrameHeader::Rows(header), &mut payload).unwrap();
        payload.extend_from_slice(&bodies);
        let place = self.take_place(payload.len());
        Sent { place, payload, schemas: sections.iter().map(|(schema, ..)| *schema).collect() }
    }

    fn take_place(&mut self, bytes: usize) -> FramePlace {
        let place = self.next;
        self.next = FramePlace { lsn: place.lsn.next(), position: place.position + u64::try_from(bytes).unwrap() };
        place
    }

    /// Gives a frame to the sink.
    pub async fn write(&mut self, sent: &Sent) -> Result<(), Failure> {
        let frame = Frame::decode(&sent.payload).unwrap();
        for schema in &sent.schemas {
            if !self.sink.is_prepared(*schema) {
                self.sink.prepare(sent.place.lsn, *schema, &mut Schemas::new(&mut self.catalog)).await?;
            }
        }
        self.sink.write(sent.place, &frame, &mut Schemas::new(&mut self.catalog))
    }

    /// Gives a change to the sink, behind the last frame; says where, for [`Rig::change_again`].
    pub async fn change(&mut self, change: &TableChange) -> FramePlace {
        let place = self.take_place(100);
        self.change_again(place, change).await.unwrap();
        place
    }

    pub async fn change_again(&mut self, place: FramePlace, change: &TableChange) -> Result<(), Failure> {
        self.sink.change(place, &origin(), change, &mut Schemas::new(&mut self.catalog)).await
    }

    /// Sends the round and waits for it.
    pub async fn commit(&mut self) -> Result<(), Failure> {
        let end = Lsn::new(self.next.lsn.raw() - 1);
        self.sink.store(end).await?;
        self.sink.settle().await.map(|_| ())
    }

    /// Stores what there is of the round, without the cursor.
    pub async fn spill(&mut self) {
        self.sink.spill().await.unwrap();
    }

    /// Writes frames and commits them; what became of them, by table.
    pub async fn round(&mut self, frames: &[Sent]) -> BTreeMap<String, RowCounts> {
        for frame in frames {
            self.write(frame).await.unwrap();
        }
        self.commit().await.unwrap();
        self.counts()
    }

    /// What became of rows since the last call, by table. It balances.
    pub fn counts(&mut self) -> BTreeMap<String, RowCounts> {
        let counts: BTreeMap<_, _> =
            self.sink.take_counts().into_iter().map(|(table, counts)| (table.table, counts)).collect();
        for (table, counts) in &counts {
            assert!(counts.balance(), "{table}: {counts:?}");
            assert_eq!((counts.netted, counts.unmatched), (0, 0), "{table}: {counts:?}");
        }
        counts
    }

    /// Why a table is stopped.
    pub fn stop_reason(&self, table: &str) -> String {
        let stopped = self.sink.stopped().iter().find(|(name, _)| name.table == table);
        stopped.map(|(_, why)| why.reason.clone()).unwrap_or_default()
    }

    /// The tables that are stopped.
    pub fn stopped(&self) -> Vec<String> {
        self.sink.stopped().keys().map(|table| table.table.clone()).collect()
    }
}

/// The plan of the sink `ch` at a server, with these keys of its configuration besides.
pub fn plan(url: &str, keys: &Value) -> SinkPlan {
    let mut sink = json!({
        "name": "ch", "type": "clickhouse", "url": url, "database": REPLICA, "user": "default", "compression": "none",
        "table_name": "{table}", "batch": { "max_rows": 500_000, "max_bytes": "64MiB", "max_delay": "50ms" },
    });
    for (key, value) in keys.as_object().expect("keys of a sink") {
        sink[key] = value.clone();
    }
    let config = json!({
        "source": {
            "url": "mysql://root@127.0.0.1:1/", "server_id": 1, "startup_mode": "latest", "include": ["shop.*"],
            "tls": { "mode": "disabled" },
        },
        "wal": { "path": "wal", "max_size": "1GiB" },
        "sinks": [sink],
    });
    let plan = parse(Path::new("rig.yaml"), &config.to_string(), &|_| Ok(None), &replicator::sink::types()).unwrap();
    plan.sinks.into_iter().next().unwrap()
}

fn origin() -> Origin {
    let place = SourcePlace::MySql(BinlogPlace { file_number: 1, pos: 4, gtid: Gtid::Anonymous });
    Origin { commit_micros: 1_795_251_600_000_001, place }
}

/// `shop.NAME (id INT PRIMARY KEY, v VARCHAR(50), d DATE NOT NULL)`.
pub fn table(name: &str) -> TableSchema {
    let column = |name: &str, ty, nullable| Column {
        name: name.into(),
        ty,
        nullable,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
    TableSchema {
        name: TableName::new("shop", name),
        columns: vec![
            column("id", ColumnType::Int { width: IntWidth::W4, unsigned: false }, false),
            column("v", ColumnType::VarChar { max_bytes: 200, charset: Charset::new("utf8mb4") }, true),
            column("d", ColumnType::Date, false),
        ],
        key: Some(Key { kind: KeyKind::Primary, columns: vec![0] }),
    }
}
