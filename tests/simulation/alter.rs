//! `ALTER TABLE`: one or several changes in one statement, what the table is after it, and what becomes of its rows.

use replicator::source::mysql::schema::Flavour;

use super::kinds::{Kind, NULL};
use super::rng::Rng;
use super::shape::{Called, Def, K, Keyed, Made, Shape, WIDTH};
use super::tables::{Name, Row};

/// Whether rows may get other values by a statement that leaves the types of their columns as they are: another expression of a
/// generated column, or an `AUTO_INCREMENT` over what was 0. What follows a table does not see these yet.
const RECOMPUTED: bool = true;

/// Where the values of a column come from in rows that were there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The column that was at this place.
    From(usize),
    /// The same in every row.
    Constant(i32),
    /// Another one in every row.
    Fresh,
    /// The column that was at this place, with 1 for 0.
    Counted(usize),
}

/// A statement that is being made.
struct Draft {
    flavour: Flavour,
    columns: Vec<(Def, Source)>,
    key: Keyed,
    is_transactional: bool,
    /// What the statement says.
    parts: Vec<String>,
    /// A statement by itself that does the same.
    alone: Option<String>,
    /// Names that a change has used: parts of a statement do not see each other.
    used: Vec<Called>,
    reshapes: bool,
}

/// A statement about the definition of a table.
#[derive(Debug)]
pub struct Altered {
    /// What it says after the table's name.
    pub what: String,
    /// Another statement that does the same.
    pub alone: Option<String>,
    pub shape: Shape,
    sources: Vec<Source>,
    /// Whether columns, or values of rows, are others after it.
    pub reshapes: bool,
    /// Whether every part of it is understood.
    pub is_clear: bool,
}

impl Altered {
    /// The row as it is after the statement.
    pub fn row(&self, row: &Row, fresh: &mut impl FnMut() -> i32) -> Row {
        let mut after = Row::default();
        for ((value, source), def) in after.iter_mut().zip(&self.sources).zip(self.shape.columns()) {
            *value = match source {
                Source::Constant(constant) => *constant,
                Source::Fresh => fresh(),
                Source::Counted(place) if row[*place] == 0 => 1,
                Source::From(place) | Source::Counted(place) => row[*place],
            };
            if !def.nullable && *value == NULL {
                *value = 0;
            }
        }
        self.shape.generated(after)
    }

    /// Where the key's values were before, if the statement makes one of columns that were there.
    pub fn new_key(&self, before: &Shape) -> Option<Vec<usize>> {
        let places: Vec<usize> = self
            .shape
            .key_places()
            .into_iter()
            .map(|place| match self.sources[place] {
                Source::From(place) => Some(place),
                Source::Constant(_) | Source::Fresh | Source::Counted(_) => None,
            })
            .collect::<Option<_>>()?;
        (!places.is_empty() && places != before.key_places()).then_some(places)
    }
}

/// A change.
#[derive(Clone, Copy)]
enum Change {
    Add,
    Drop,
    DropAndAdd,
    Rename,
    Swap,
    Retype,
    Nullable,
    Key,
    Recompute,
    Number,
    Count,
    Engine,
    Nothing,
}

/// A statement about a table whose rows these are.
pub fn alter<'r>(
    shape: Shape,
    name: Name,
    flavour: Flavour,
    rows: &(impl Iterator<Item = &'r Row> + Clone),
    rng: &mut Rng,
) -> Altered {
    let columns = shape.columns().enumerate().map(|(place, def)| (*def, Source::From(place))).collect();
    let mut draft = Draft {
        flavour,
        columns,
        key: shape.key,
        is_transactional: shape.is_transactional,
        parts: Vec::new(),
        alone: None,
        used: Vec::new(),
        reshapes: false,
    };
    let key = if shape.key == Keyed::Not || matches!(shape.key, Keyed::Prefix(_)) { 12 } else { 3 };
    let wanted = rng.weighted(&[(4, 1), (1, 2), (1, 3)]);
    // Of a key that is made of several columns rows may be 0 and 1 without being the same.
    let has_twins = rows.clone().any(|row| row.contains(&0)) && rows.clone().any(|row| row.contains(&1));
    while draft.parts.len() < wanted {
        let change = rng.weighted(&[
            (4, Change::Add),
            (3, Change::Drop),
            (2, Change::DropAndAdd),
            (3, Change::Rename),
            (2, Change::Swap),
            (3, Change::Retype),
            (1, Change::Nullable),
            (key, Change::Key),
            (2 * usize::from(RECOMPUTED), Change::Recompute),
            (1, Change::Number),
            (usize::from(RECOMPUTED && !has_twins), Change::Count),
            (2, Change::Engine),
            (1, Change::Nothing),
        ]);
        draft.change(change, name, rng);
    }
    let is_clear = !rng.percent(2);
    if !is_clear {
        draft.parts.push("FROBNICATE".to_owned());
    }
    let alone = draft.alone.take().filter(|_| draft.parts.len() == 1 && rng.percent(50));
    let defs: Vec<Def> = draft.columns.iter().map(|(def, _)| *def).collect();
    Altered {
        what: draft.parts.join(", "),
        alone,
        shape: Shape::new(&defs, draft.key, draft.is_transactional),
        sources: draft.columns.iter().map(|(_, source)| *source).collect(),
        reshapes: draft.reshapes,
        is_clear,
    }
}

impl Draft {
    fn change(&mut self, change: Change, name: Name, rng: &mut Rng) {
        match change {
            Change::Add => drop(self.add(rng)),
            Change::Drop => self.drop_column(rng),
            Change::DropAndAdd => self.drop_and_add(rng),
            Change::Rename => self.rename(rng),
            Change::Swap => self.swap(rng),
            Change::Retype => self.retype(rng),
            Change::Nullable => self.set_null(rng),
            Change::Key => drop(self.key(name, rng)),
            Change::Recompute => self.recompute(rng),
            Change::Number => self.number(),
            Change::Count => self.count(),
            Change::Engine => {
                self.is_transactional = !self.is_transactional;
                self.parts.push(format!("ENGINE={}", if self.is_transactional { "InnoDB" } else { "MyISAM" }));
            }
            Change::Nothing => self.nothing(rng),
        }
    }

    /// Columns that no part of the statement has to do with yet.
    fn free(&self, wanted: impl Fn(&Self, &Def) -> bool) -> Vec<usize> {
        let is_free = |def: &Def| !self.used.contains(&def.called) && def.kind != Kind::RowId && wanted(self, def);
        (0..self.columns.len()).filter(|place| is_free(&self.columns[*place].0)).collect()
    }

    /// Whether another column is made of this one.
    fn is_base(&self, called: Called) -> bool {
        self.columns.iter().any(|(def, _)| matches!(def.made, Made::Generated(base, _) if base == called))
    }

    /// Whether it is a column like others.
    fn is_plain(&self, def: &Def) -> bool {
        def.made == Made::Plain && !self.is_base(def.called)
    }

    /// A name that no column has, and no part of the statement.
    fn unused(&self, rng: &mut Rng) -> Option<Called> {
        let is_unused =
            |called: &Called| !self.used.contains(called) && self.columns.iter().all(|(def, _)| def.called != *called);
        rng.pick(&Called::all().filter(is_unused).collect::<Vec<_>>()).copied()
    }

    /// Puts a column at its place: `FIRST`, `AFTER` another one, or where it is by itself.
    fn put(&mut self, column: (Def, Source), by_itself: usize, rng: &mut Rng) -> String {
        let after = self.free(|_, def| def.called != column.0.called);
        self.used.push(column.0.called);
        match rng.weighted(&[(5, 0), (1, 1), (2, 2)]) {
            1 => {
                self.columns.insert(0, column);
                " FIRST".to_owned()
            }
            2 if let Some(place) = rng.pick(&after) => {
                let before = self.columns[*place].0.called;
                // The place of a column may not depend on one that moves.
                self.used.push(before);
                self.columns.insert(place + 1, column);
                format!(" AFTER `{}`", before.name())
            }
            _ => {
                self.columns.insert(by_itself, column);
                String::new()
            }
        }
    }

    fn add(&mut self, rng: &mut Rng) -> Option<()> {
        if self.columns.len() == WIDTH {
            return None;
        }
        let called = self.unused(rng)?;
        let part = self.add_called(called, rng);
        self.parts.push(part);
        Some(())
    }

    fn add_called(&mut self, called: Called, rng: &mut Rng) -> String {
        self.reshapes = true;
        let bases = self.free(|_, def| def.made == Made::Plain && def.kind.is_number() && def.called != called);
        let any = if self.flavour == Flavour::MariaDb { Kind::Uuid } else { Kind::Binary };
        let kind = rng.weighted(&[(5, Kind::Int), (1, Kind::Big), (2, Kind::Text), (1, any)]);
        let nullable = rng.percent(50);
        let (def, source, more) = match (rng.weighted(&[(6, 0), (1, 1), (1, 2)]), rng.pick(&bases)) {
            (1, _) if kind == Kind::Int => {
                (Def::plain(called, kind, true), Source::Fresh, " DEFAULT (RAND() * 1000)".to_owned())
            }
            (2, Some(base)) => {
                let base = self.columns[*base].0;
                self.used.push(base.called);
                let made = Made::Generated(base.called, i32::try_from(rng.between(1, 9)).unwrap());
                let kind = base.kind;
                (Def { made, ..Def::plain(called, kind, true) }, Source::Constant(NULL), String::new())
            }
            _ => {
                let value = i32::try_from(rng.between(2, 9)).unwrap();
                match kind.literal(value) {
                    Some(literal) if !nullable || rng.percent(70) => {
                        (Def::plain(called, kind, nullable), Source::Constant(value), format!(" DEFAULT {literal}"))
                    }
                    _ => (Def::plain(called, kind, true), Source::Constant(NULL), String::new()),
                }
            }
        };
        let place = self.put((def, source), self.columns.len(), rng);
        format!("ADD COLUMN `{}` {}{more}{place}", called.name(), def.sql())
    }

    fn droppable(&self) -> Vec<usize> {
        self.free(|draft, def| !draft.key.has(def.called) && !draft.is_base(def.called))
    }

    fn drop_column(&mut self, rng: &mut Rng) {
        let Some(place) = rng.pick(&self.droppable()).copied().filter(|_| self.columns.len() > 2) else { return };
        let (def, _) = self.columns.remove(place);
        self.used.push(def.called);
        self.reshapes = true;
        self.parts.push(format!("DROP COLUMN `{}`", def.called.name()));
    }

    fn drop_and_add(&mut self, rng: &mut Rng) {
        let Some(place) = rng.pick(&self.droppable()).copied() else { return };
        let (def, _) = self.columns.remove(place);
        let added = self.add_called(def.called, rng);
        self.parts.push(format!("DROP COLUMN `{}`, {added}", def.called.name()));
    }

    fn rename(&mut self, rng: &mut Rng) {
        let places = self.free(|draft, def| !draft.is_base(def.called));
        let (Some(place), Some(to)) = (rng.pick(&places).copied(), self.unused(rng)) else { return };
        let (before, source) = self.columns[place];
        let from = before.called;
        let def = Def { called: to, ..before };
        self.key = self.key.renamed(from, to);
        self.used.extend([from, to]);
        self.reshapes = true;
        if rng.percent(50) {
            self.columns[place].0 = def;
            return self.parts.push(format!("RENAME COLUMN `{}` TO `{}`", from.name(), to.name()));
        }
        self.columns.remove(place);
        let at = self.put((def, source), place, rng);
        self.parts.push(format!("CHANGE COLUMN `{}` `{}` {}{at}", from.name(), to.name(), def.sql()));
    }

    /// Two columns change their names.
    fn swap(&mut self, rng: &mut Rng) {
        let places = self.free(Draft::is_plain);
        let (Some(one), Some(other)) = (rng.pick(&places).copied(), rng.pick(&places).copied()) else { return };
        if one == other {
            return;
        }
        let (a, b) = (self.columns[one].0, self.columns[other].0);
        self.columns[one].0.called = b.called;
        self.columns[other].0.called = a.called;
        self.used.extend([a.called, b.called]);
        self.key = self.key.swapped(a.called, b.called);
        self.reshapes = true;
        let (a_name, b_name) = (a.called.name(), b.called.name());
        self.parts.push(if rng.percent(50) {
            format!("CHANGE `{a_name}` `{b_name}` {}, CHANGE `{b_name}` `{a_name}` {}", a.sql(), b.sql())
        } else {
            format!("RENAME COLUMN `{a_name}` TO `{b_name}`, RENAME COLUMN `{b_name}` TO `{a_name}`")
        });
    }

    fn retype(&mut self, rng: &mut Rng) {
        let places = self.free(|draft, def| {
            draft.is_plain(def) && !(draft.key.has(def.called) && matches!(draft.key, Keyed::Prefix(_)))
        });
        let Some(place) = rng.pick(&places).copied() else { return };
        let (before, source) = self.columns[place];
        let is_key = self.key.has(before.called);
        let kinds: Vec<Kind> =
            before.kind.others(self.flavour).iter().copied().filter(|kind| !is_key || kind.is_number()).collect();
        let Some(kind) = rng.pick(&kinds).copied() else { return };
        let def = Def { kind, ..before };
        self.columns.remove(place);
        self.reshapes = true;
        let at = self.put((def, source), place, rng);
        self.parts.push(format!("MODIFY COLUMN `{}` {}{at}", def.called.name(), def.sql()));
    }

    fn set_null(&mut self, rng: &mut Rng) {
        let is_number = |draft: &Self, def: &Def| draft.is_plain(def) && !draft.key.has(def.called);
        let places = self.free(|draft, def| is_number(draft, def) && def.kind.is_number());
        let Some(place) = rng.pick(&places).copied() else { return };
        let def = &mut self.columns[place].0;
        def.nullable = !def.nullable;
        self.used.push(def.called);
        self.reshapes = true;
        self.parts.push(format!("MODIFY COLUMN `{}` {}", def.called.name(), def.sql()));
    }

    /// A key comes, goes, or is another one.
    fn key(&mut self, name: Name, rng: &mut Rng) -> Option<()> {
        let is_in_use = self.key.columns().any(|called| self.used.contains(&called));
        let is_counted = |(def, _): &(Def, Source)| def.made == Made::Counted || def.kind == Kind::RowId;
        if is_in_use || self.columns.iter().any(is_counted) {
            return None;
        }
        let table = name.sql();
        let (old, drops) = (self.key, rng.percent(60));
        let mut part = match old {
            Keyed::Not => String::new(),
            Keyed::Primary(..) => "DROP PRIMARY KEY".to_owned(),
            Keyed::Prefix(_) => {
                self.alone = Some(format!("DROP INDEX `p` ON {table}"));
                "DROP KEY `p`".to_owned()
            }
        };
        self.used.extend(old.columns());
        let makes = match old {
            Keyed::Not => true,
            Keyed::Primary(..) => !drops,
            Keyed::Prefix(_) => false,
        };
        self.key = Keyed::Not;
        if makes {
            let free = self.free(|draft, def| {
                draft.is_plain(def) && !old.has(def.called) && (def.kind.is_number() || def.kind == Kind::Text)
            });
            let was_there = |place: &&usize| matches!(self.columns[**place].1, Source::From(_));
            let free: Vec<usize> = free.iter().filter(was_there).copied().collect();
            let place = rng.pick(&free).copied();
            let Some(def) = place.map(|place| self.columns[place].0) else {
                self.key = old;
                return None;
            };
            let is_prefix = def.kind == Kind::Text;
            if is_prefix && (old != Keyed::Not || def.nullable) {
                self.key = old;
                return None;
            }
            self.key = if is_prefix { Keyed::Prefix(def.called) } else { Keyed::Primary(def.called, None) };
            if !is_prefix {
                let is_other = |place: &&usize| {
                    let (other, _) = self.columns[**place];
                    other.kind.is_number() && other.called != def.called
                };
                let others: Vec<usize> = free.iter().filter(is_other).copied().collect();
                let second = rng.pick(&others).filter(|_| rng.percent(30)).map(|place| self.columns[*place].0.called);
                self.key = Keyed::Primary(def.called, second);
            }
            self.used.extend(self.key.columns());
            for (def, _) in &mut self.columns {
                if self.key.has(def.called) && def.nullable {
                    def.nullable = false;
                    self.reshapes = true;
                }
            }
            let listed = self.key.listed();
            let made = if is_prefix {
                self.alone = Some(format!("CREATE UNIQUE INDEX `p` ON {table} ({listed}(20))"));
                format!("ADD UNIQUE KEY `p` ({listed}(20))")
            } else {
                format!("ADD PRIMARY KEY ({listed})")
            };
            part = if part.is_empty() { made } else { format!("{part}, {made}") };
        }
        self.parts.push(part);
        Some(())
    }

    /// A generated column gets another expression, or a column becomes a generated one, or one becomes plain.
    fn recompute(&mut self, rng: &mut Rng) {
        let places = self.free(|draft, def| {
            def.kind.is_number() && def.nullable && !draft.key.has(def.called) && !draft.is_base(def.called)
        });
        let Some(place) = rng.pick(&places).copied() else { return };
        let def = self.columns[place].0;
        let bases = self.free(|_, base| base.kind == def.kind && base.called != def.called && base.made == Made::Plain);
        let made = match rng.pick(&bases) {
            Some(base) if def.made == Made::Plain || rng.percent(70) => {
                Made::Generated(self.columns[*base].0.called, i32::try_from(rng.between(1, 9)).unwrap())
            }
            _ if def.made != Made::Plain => Made::Plain,
            _ => return,
        };
        if let Made::Generated(base, _) = made {
            self.used.push(base);
        }
        self.used.push(def.called);
        let def = Def { made, ..def };
        self.columns[place].0 = def;
        self.reshapes = true;
        self.parts.push(format!("MODIFY COLUMN `{}` {}", def.called.name(), def.sql()));
    }

    /// A table without a key gets numbers.
    fn number(&mut self) {
        if self.key != Keyed::Not || self.columns.len() == WIDTH || self.used.contains(&K) {
            return;
        }
        let is_there = |called: &Called| self.columns.iter().any(|(def, _)| def.called == *called);
        let Some(called) = Called::all().find(|called| !is_there(called) && !self.used.contains(called)) else {
            return;
        };
        let def = Def { made: Made::Counted, ..Def::plain(called, Kind::Int, false) };
        self.columns.insert(0, (def, Source::Fresh));
        self.key = Keyed::Primary(called, None);
        self.used.push(called);
        self.reshapes = true;
        self.parts.push(format!("ADD COLUMN `{}` {} PRIMARY KEY FIRST", called.name(), def.sql()));
    }

    /// The column of a key counts by itself from now on.
    fn count(&mut self) {
        let Keyed::Primary(called, None) = self.key else { return };
        let places = self.free(|draft, def| def.called == called && def.kind.is_number() && draft.is_plain(def));
        let Some(place) = places.first().copied() else { return };
        let (def, source) = &mut self.columns[place];
        let Source::From(before) = *source else { return };
        (def.made, *source) = (Made::Counted, Source::Counted(before));
        self.used.push(called);
        self.reshapes = true;
        self.parts.push(format!("MODIFY COLUMN `{}` {}", called.name(), def.sql()));
    }

    /// Nothing that a row or a description shows.
    fn nothing(&mut self, rng: &mut Rng) {
        let places = self.free(|draft, def| draft.is_plain(def) && !draft.key.has(def.called));
        let Some(place) = rng.pick(&places).copied() else { return };
        let def = self.columns[place].0;
        self.used.push(def.called);
        let name = def.called.name();
        self.parts.push(match self.flavour {
            _ if rng.percent(50) => format!("COMMENT='{name}'"),
            Flavour::MySql => format!("ALTER COLUMN `{name}` SET INVISIBLE"),
            Flavour::MariaDb => format!("MODIFY COLUMN `{name}` {} INVISIBLE", def.sql()),
        });
    }
}
