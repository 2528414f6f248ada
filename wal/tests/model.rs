//! The log against a model of it in memory: random operations, among them opening the log again, must give what the model
//! gives, and a log that verifies as sound.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use wal::{Appender, CursorInfo, Error, GroupEnd, Lsn, Options, Reader, Wal};

#[derive(Clone, Debug)]
enum Op {
    Append {
        size: usize,
        ends: bool,
    },
    PutWithGroup {
        key: u8,
        value: Option<u8>,
    },
    PutSettled {
        key: u8,
        value: Option<u8>,
    },
    Abort,
    Flush {
        durable: bool,
    },
    PutState {
        key: u8,
        value: Option<u8>,
    },
    /// `at` is a position relative to the end: it may be impossible.
    Ack {
        cursor: u8,
        back: u64,
        lazily: bool,
    },
    Create {
        cursor: u8,
        back: u64,
    },
    Drop {
        cursor: u8,
    },
    Detach {
        cursor: u8,
    },
    Read {
        back: u64,
        max_bytes: usize,
    },
    Reopen {
        clean: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let value = || proptest::option::of(any::<u8>());
    let size = prop_oneof![10 => 0..200_usize, 3 => 30_000..70_000_usize, 1 => 130_000..400_000_usize];
    prop_oneof![
        20 => (size, prop::bool::weighted(0.6)).prop_map(|(size, ends)| Op::Append { size, ends }),
        4 => (0..3_u8, value()).prop_map(|(key, value)| Op::PutWithGroup { key, value }),
        3 => (0..3_u8, value()).prop_map(|(key, value)| Op::PutSettled { key, value }),
        2 => Just(Op::Abort),
        8 => any::<bool>().prop_map(|durable| Op::Flush { durable }),
        2 => (0..3_u8, value()).prop_map(|(key, value)| Op::PutState { key, value }),
        6 => (0..3_u8, 0..12_u64, any::<bool>()).prop_map(|(cursor, back, lazily)| Op::Ack { cursor, back, lazily }),
        3 => (0..3_u8, 0..12_u64).prop_map(|(cursor, back)| Op::Create { cursor, back }),
        1 => (0..3_u8).prop_map(|cursor| Op::Drop { cursor }),
        1 => (0..3_u8).prop_map(|cursor| Op::Detach { cursor }),
        4 => (0..30_u64, prop_oneof![Just(usize::MAX), 0..200_000_usize]).prop_map(|(back, max_bytes)| Op::Read { back, max_bytes }),
        2 => any::<bool>().prop_map(|clean| Op::Reopen { clean }),
    ]
}

type Frame = (Vec<u8>, bool);
type State = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Default)]
struct Model {
    /// All frames ever appended and not abandoned; LSN 1 is at 0.
    frames: Vec<Frame>,
    /// How many of them are visible, were flushed, or belong to ended groups.
    visible: usize,
    ended: usize,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    ready: State,
    staged: State,
    cursors: BTreeMap<String, (usize, Vec<u8>, bool)>,
    written: u32,
}

fn apply(state: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: State) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(state.insert(key, value)),
            None => drop(state.remove(&key)),
        }
    }
}

impl Model {
    fn is_group_end(&self, lsn: usize) -> bool {
        lsn == 0 || self.frames[lsn - 1].1
    }

    fn flushed(&mut self) {
        self.visible = self.ended;
        apply(&mut self.state, std::mem::take(&mut self.ready));
    }

    fn reopened(&mut self) {
        self.frames.truncate(self.visible);
        self.ended = self.visible;
        self.ready.clear();
        self.staged.clear();
    }

    /// Frame bytes before the frame at `lsn`.
    fn position(&self, lsn: u64) -> u64 {
        let before = &self.frames[..usize::try_from(lsn - 1).unwrap()];
        before.iter().map(|(payload, _)| raw(payload.len() + 5)).sum()
    }

    fn cursor(&self, name: &str) -> CursorInfo {
        let (lsn, token, detached) = &self.cursors[name];
        let backlog = &self.frames[*lsn..self.visible];
        CursorInfo {
            name: name.to_owned(),
            lsn: Lsn::new(raw(*lsn)),
            token: token.clone(),
            backlog_bytes: backlog.iter().map(|(payload, _)| raw(payload.len() + 5)).sum(),
            backlog_groups: raw(backlog.iter().filter(|(_, ends)| *ends).count()),
            detached: *detached,
        }
    }
}

fn raw(n: usize) -> u64 {
    u64::try_from(n).unwrap()
}

fn key(key: u8) -> Vec<u8> {
    vec![b'k', key]
}

fn open(directory: &Path) -> (Wal, Appender) {
    Wal::open(directory, Options::new(64 << 20)).unwrap()
}

/// Waits until everything that was sent is committed.
async fn settle(wal: &Wal) {
    wal.put_state(Vec::new()).await.unwrap();
}

async fn run(ops: Vec<Op>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut wal, mut appender) = open(directory.path());
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Append { size, ends } => {
                model.written += 1;
                let mut payload = model.written.to_le_bytes().to_vec();
                payload.resize(size.max(4), 7);
                let end = if ends { GroupEnd::Ends } else { GroupEnd::More };
                let lsn = appender.append(&[&payload[..2], &payload[2..]], end).unwrap();
                model.frames.push((payload, ends));
                assert_eq!(lsn, Lsn::new(raw(model.frames.len())));
                if ends {
                    model.ended = model.frames.len();
                    let staged = std::mem::take(&mut model.staged);
                    model.ready.extend(staged);
                }
            }
            Op::PutWithGroup { key: k, value } => {
                let value = value.map(|value| vec![value]);
                appender.put_state(&key(k), value.as_deref());
                let open = model.ended < model.frames.len();
                let state = if open { &mut model.staged } else { &mut model.ready };
                state.insert(key(k), value);
            }
            Op::PutSettled { key: k, value } => {
                let value = value.map(|value| vec![value]);
                appender.put_settled(&key(k), value.as_deref());
                model.ready.insert(key(k), value);
            }
            Op::Abort => {
                appender.abort_group().await.unwrap();
                model.frames.truncate(model.ended);
                model.staged.clear();
            }
            Op::Flush { durable } => {
                if durable {
                    appender.flush_durable().await.unwrap();
                } else {
                    appender.flush().await.unwrap();
                    settle(&wal).await;
                }
                model.flushed();
            }
            Op::PutState { key: k, value } => {
                let value = value.map(|value| vec![value]);
                wal.put_state(vec![(key(k), value.clone())]).await.unwrap();
                apply(&mut model.state, State::from([(key(k), value)]));
            }
            Op::Ack { cursor, back, lazily } => ack(&wal, &mut model, cursor, back, lazily).await,
            Op::Create { cursor, back } => create(&wal, &mut model, cursor, back).await,
            Op::Drop { cursor } => {
                let name = cursor.to_string();
                let dropped = wal.drop_cursor(&name).await;
                match model.cursors.remove(&name) {
                    Some(_) => dropped.unwrap(),
                    None => assert!(matches!(dropped, Err(Error::NoSuchCursor(n)) if n == name)),
                }
            }
            Op::Detach { cursor } => {
                let name = cursor.to_string();
                let detached = wal.detach_cursor(&name).await;
                match model.cursors.get_mut(&name) {
                    Some(cursor) => {
                        detached.unwrap();
                        cursor.2 = true;
                    }
                    None => assert!(matches!(detached, Err(Error::NoSuchCursor(n)) if n == name)),
                }
            }
            Op::Read { back, max_bytes } => {
                let after = raw(model.visible).saturating_sub(back);
                read(&wal.reader(), &model, after, max_bytes);
            }
            Op::Reopen { clean } => {
                let id = wal.id();
                if clean {
                    wal.shutdown().await.unwrap();
                }
                drop((wal, appender));
                (wal, appender) = open(directory.path());
                model.reopened();
                assert_eq!(wal.id(), id);
                assert_eq!(appender.next_lsn(), Lsn::new(raw(model.visible + 1)));
            }
        }
        compare(&wal, &model).await;
    }
    drop((wal, appender));
    let report = Reader::open_read_only(directory.path()).unwrap().verify().unwrap();
    assert_eq!(report.findings, []);
}

async fn ack(wal: &Wal, model: &mut Model, cursor: u8, back: u64, lazily: bool) {
    let name = cursor.to_string();
    let end = raw(model.visible);
    let to = (end + 1).saturating_sub(back);
    let token = format!("token {to}").into_bytes();
    let state = vec![(b"acked".to_vec(), Some(token.clone()))];
    let lsn = usize::try_from(to).unwrap();
    let expected = match model.cursors.get(&name) {
        None => Err("none"),
        Some((_, _, true)) => Err("detached"),
        Some((at, _, _)) if lsn < *at => Err("backwards"),
        Some(_) if to > end => Err("beyond"),
        Some(_) if !model.is_group_end(lsn) => Err("inside"),
        Some(_) => Ok(()),
    };
    if lazily {
        // One that is refused would put the log out of service, which is another test's matter.
        if expected.is_err() {
            return;
        }
        wal.ack_lazily(&name, Lsn::new(to), &token, state).unwrap();
        settle(wal).await;
    } else {
        let result = wal.ack(&name, Lsn::new(to), &token, state).await;
        let result = result.map_err(|error| match error {
            Error::NoSuchCursor(_) => "none",
            Error::Detached(_) => "detached",
            Error::AckBackwards { .. } => "backwards",
            Error::BeyondDurable { .. } => "beyond",
            Error::NotGroupEnd(_) => "inside",
            other => panic!("{other}"),
        });
        assert_eq!(result, expected);
    }
    if expected.is_ok() {
        model.cursors.insert(name, (lsn, token.clone(), false));
        model.state.insert(b"acked".to_vec(), token);
    }
}

async fn create(wal: &Wal, model: &mut Model, cursor: u8, back: u64) {
    let name = cursor.to_string();
    let end = raw(model.visible);
    let at = (end + 1).saturating_sub(back);
    let first = wal.positions().borrow().first.raw();
    let created = wal.create_cursor(&name, Lsn::new(at)).await;
    if model.cursors.contains_key(&name) {
        assert_eq!(created.unwrap(), model.cursor(&name));
    } else if at > end {
        assert!(matches!(created, Err(Error::BeyondDurable { .. })), "{created:?}");
    } else if at + 1 < first {
        assert!(matches!(created, Err(Error::Trimmed { .. })), "{created:?}");
    } else if !model.is_group_end(usize::try_from(at).unwrap()) {
        assert!(matches!(created, Err(Error::NotGroupEnd(_))), "{created:?}");
    } else {
        model.cursors.insert(name.clone(), (usize::try_from(at).unwrap(), Vec::new(), false));
        assert_eq!(created.unwrap(), model.cursor(&name));
    }
}

fn read(reader: &Reader, model: &Model, after: u64, max_bytes: usize) {
    let first = reader.positions().first.raw();
    let result = reader.read(Lsn::new(after), max_bytes);
    if after + 1 < first && after < raw(model.visible) {
        assert!(matches!(result, Err(Error::Trimmed { .. })), "{result:?}");
        return;
    }
    let blocks = result.unwrap();
    let mut expected = (after + 1..).zip(&model.frames[usize::try_from(after).unwrap()..model.visible]);
    let mut bytes = 0;
    for block in &blocks {
        assert!(bytes == 0 || bytes < max_bytes);
        bytes += block.bytes();
        for frame in block.frames() {
            let frame = frame.unwrap();
            let (lsn, (payload, ends)) = expected.next().expect("no more frames than the model has");
            assert_eq!(frame.lsn, Lsn::new(lsn));
            assert_eq!(frame.position, model.position(lsn));
            assert_eq!((frame.payload, frame.end_of_group), (payload.as_slice(), *ends));
        }
    }
    assert_eq!(blocks.is_empty(), after >= raw(model.visible));
    assert!(bytes >= max_bytes || expected.next().is_none(), "stopped early");
}

async fn compare(wal: &Wal, model: &Model) {
    settle(wal).await;
    let reader = wal.reader();
    let positions = reader.positions();
    assert_eq!(positions.durable, Lsn::new(raw(model.visible)));
    let slowest = model.cursors.values().filter(|cursor| !cursor.2).map(|cursor| cursor.0).min();
    let kept_from = match slowest {
        Some(lsn) => lsn + 1,
        None => model.visible + 1,
    };
    assert!(positions.first <= Lsn::new(raw(kept_from)), "trimmed what a cursor needs");
    let state: BTreeMap<_, _> = reader.state_prefix(b"").unwrap().into_iter().collect();
    assert_eq!(state, model.state);
    let expected: Vec<_> = model.cursors.keys().map(|name| model.cursor(name)).collect();
    assert_eq!(wal.cursors(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_do_what_the_model_does(ops in vec(op(), 1..80)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(ops));
    }
}
