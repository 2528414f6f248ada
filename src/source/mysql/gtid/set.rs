//! MySQL's GTID set: source uuid, optional tag (8.3 and later), intervals of numbers.
//!
//! Text form as the server prints it: `uuid:1-5:7:tag:1-3,uuid2:1`, uuids in order, the untagged intervals of a uuid first,
//! then its tags in order. The server's rules for reading hold too: white space anywhere, uuids and tags in any case,
//! repeated uuids, overlapping and adjoining intervals; empty intervals (`5-4`) are dropped.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::GtidTextError;

/// Longest tag the server accepts, in characters.
const MAX_TAG: usize = 32;

/// Largest transaction number: the server keeps one bit for itself.
const MAX_NUMBER: u64 = i64::MAX.unsigned_abs() - 1;

/// A uuid and a tag; the tag is empty for an untagged GTID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    uuid: [u8; 16],
    tag: String,
}

/// Numbers of one source: inclusive intervals, ascending, never overlapping nor adjoining, never empty as a whole.
type Intervals = Vec<(u64, u64)>;

/// A set of GTIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    sources: BTreeMap<Source, Intervals>,
}

impl GtidSet {
    /// The set that the server prints as `text`.
    ///
    /// # Errors
    /// [`GtidTextError`] naming the piece that cannot be read.
    pub fn parse(text: &str) -> Result<Self, GtidTextError> {
        let mut set = Self::default();
        for part in text.split(',') {
            let part: String = part.chars().filter(|c| !c.is_whitespace()).collect();
            if part.is_empty() {
                continue;
            }
            let mut pieces = part.split(':');
            let uuid = parse_uuid(pieces.next().unwrap_or_default())?;
            let mut tag = String::new();
            let mut intervals = 0_usize;
            for piece in pieces {
                if piece.starts_with(|c: char| c.is_ascii_digit()) {
                    let (first, last) = parse_interval(piece)?;
                    if first <= last {
                        set.insert_range(uuid, &tag, first, last);
                    }
                    intervals += 1;
                } else {
                    tag = parse_tag(piece)?;
                }
            }
            if intervals == 0 {
                return Err(GtidTextError::new(&part, "GTID set (uuid:number or uuid:first-last)"));
            }
        }
        Ok(set)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether any GTID in it has a tag.
    pub fn has_tags(&self) -> bool {
        self.sources.keys().any(|source| !source.tag.is_empty())
    }

    /// Adds one GTID. Cheap in the common case, where the number follows the last one of its source.
    pub fn insert(&mut self, uuid: [u8; 16], tag: &str, number: u64) {
        // One allocation-free lookup for untagged GTIDs: an empty String does not allocate.
        let source = Source { uuid, tag: tag.to_owned() };
        if let Some(intervals) = self.sources.get_mut(&source) {
            if let Some((_, last)) = intervals.last_mut()
                && last.checked_add(1) == Some(number)
            {
                *last = number;
                return;
            }
            add_range(intervals, number, number);
        } else {
            self.sources.insert(source, vec![(number, number)]);
        }
    }

    /// Adds the GTIDs of one source from a number to another one, which is not below it.
    pub fn insert_range(&mut self, uuid: [u8; 16], tag: &str, first: u64, last: u64) {
        let intervals = self.sources.entry(Source { uuid, tag: tag.to_owned() }).or_default();
        add_range(intervals, first, last);
    }

    /// Whether it holds one GTID.
    pub fn contains(&self, uuid: [u8; 16], tag: &str, number: u64) -> bool {
        self.sources
            .get(&Source { uuid, tag: tag.to_owned() })
            .is_some_and(|intervals| covers(intervals, number, number))
    }

    /// Whether `other` holds everything that `self` holds.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.sources.iter().all(|(source, intervals)| {
            other
                .sources
                .get(source)
                .is_some_and(|theirs| intervals.iter().all(|(first, last)| covers(theirs, *first, *last)))
        })
    }

    /// Adds everything of `other`.
    pub fn union(&mut self, other: &Self) {
        for (source, intervals) in &other.sources {
            let mine = self.sources.entry(source.clone()).or_default();
            for (first, last) in intervals {
                add_range(mine, *first, *last);
            }
        }
    }

    /// What `self` holds and `other` does not.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (source, intervals) in &self.sources {
            let theirs = other.sources.get(source).map_or(&[][..], Vec::as_slice);
            let kept = subtract_ranges(intervals, theirs);
            if !kept.is_empty() {
                rest.sources.insert(source.clone(), kept);
            }
        }
        rest
    }

    /// The set in pieces of one uuid and one tag each, in text form: `uuid:1-5:7`, `uuid:tag:1-3`.
    pub fn sources(&self) -> impl Iterator<Item = String> {
        self.sources.iter().map(|(source, intervals)| {
            let piece = Self { sources: BTreeMap::from([(source.clone(), intervals.clone())]) };
            piece.to_string()
        })
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut uuid = None;
        for (source, intervals) in &self.sources {
            if uuid != Some(source.uuid) {
                if uuid.is_some() {
                    f.write_char(',')?;
                }
                write_uuid(f, source.uuid)?;
                uuid = Some(source.uuid);
            }
            if !source.tag.is_empty() {
                write!(f, ":{}", source.tag)?;
            }
            for (first, last) in intervals {
                if first == last {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = GtidTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: [u8; 16]) -> fmt::Result {
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            f.write_char('-')?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Result<[u8; 16], GtidTextError> {
    let fail = || GtidTextError::new(text, "server uuid");
    let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let groups: Vec<&str> = bare.split('-').collect();
    // With all four hyphens in their places, or with none.
    if groups.len() != 1 && !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
        return Err(fail());
    }
    let digits = groups.concat();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(fail());
    }
    u128::from_str_radix(&digits, 16).map(u128::to_be_bytes).map_err(|_| fail())
}

fn parse_interval(text: &str) -> Result<(u64, u64), GtidTextError> {
    let fail = || GtidTextError::new(text, "transaction number or interval");
    let number =
        |digits: &str| digits.parse::<u64>().ok().filter(|number| (1..=MAX_NUMBER).contains(number)).ok_or_else(fail);
    match text.split_once('-') {
        Some((first, last)) => {
            // The server reads `5-4` and `5-0` as nothing.
            let last = last.parse::<u64>().ok().filter(|last| *last <= MAX_NUMBER).ok_or_else(fail)?;
            Ok((number(first)?, last))
        }
        None => number(text).map(|number| (number, number)),
    }
}

fn parse_tag(text: &str) -> Result<String, GtidTextError> {
    let tag = text.to_ascii_lowercase();
    let starts = tag.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = tag.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if starts && rest && tag.len() <= MAX_TAG { Ok(tag) } else { Err(GtidTextError::new(text, "GTID tag")) }
}

/// Whether one interval of `intervals` holds all of `first..=last`.
fn covers(intervals: &[(u64, u64)], first: u64, last: u64) -> bool {
    let after = intervals.partition_point(|(start, _)| *start <= first);
    after.checked_sub(1).and_then(|at| intervals.get(at)).is_some_and(|(_, end)| last <= *end)
}

/// Adds `first..=last`, joining what it touches.
fn add_range(intervals: &mut Intervals, first: u64, last: u64) {
    // The first interval that ends at or after first - 1, and the first one that starts after last + 1: all between join.
    let from = intervals.partition_point(|(_, end)| end.saturating_add(1) < first);
    let to = intervals.partition_point(|(start, _)| *start <= last.saturating_add(1));
    let joined = intervals.get(from..to).unwrap_or_default();
    let first = joined.first().map_or(first, |(start, _)| first.min(*start));
    let last = joined.last().map_or(last, |(_, end)| last.max(*end));
    intervals.splice(from..to.max(from), [(first, last)]);
}

fn subtract_ranges(mine: &[(u64, u64)], theirs: &[(u64, u64)]) -> Intervals {
    let mut kept = Vec::new();
    for (first, last) in mine {
        let mut next = *first;
        for (start, end) in theirs {
            if *end < next || *start > *last {
                continue;
            }
            if *start > next {
                kept.push((next, start - 1));
            }
            next = end.saturating_add(1);
        }
        if next <= *last {
            kept.push((next, *last));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4350f323-7565-4e59-8763-4b1b83a0ce0e";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(text).unwrap()
    }

    #[test]
    fn text_is_normalised_as_the_server_does() {
        let cases = [
            (String::new(), String::new()),
            (format!("{A}:1-5"), format!("{A}:1-5")),
            (format!("{B}:3,\n{A}:5:1-3:4"), format!("{A}:1-5,{B}:3")),
            (format!("{}:7-9, {A}:1", A.to_uppercase()), format!("{A}:1:7-9")),
            (format!("{A}:1-3:5-4"), format!("{A}:1-3")),
            (format!("{A}:tag_b:1:Tag_A:2-3:1"), format!("{A}:tag_a:1-3:tag_b:1")),
            (format!("{A}:x:4,{A}:1-2"), format!("{A}:1-2:x:4")),
            (format!("{}:1", A.replace('-', "")), format!("{A}:1")),
            (format!(" , {A} : 1 - 2 ,"), format!("{A}:1-2")),
        ];
        for (input, normal) in cases {
            assert_eq!(set(&input).to_string(), normal, "from {input:?}");
            assert_eq!(set(&normal), set(&input));
        }
    }

    #[test]
    fn texts_that_are_no_gtid_set_are_errors_that_name_the_piece() {
        for (text, piece) in [
            ("abc:1".to_owned(), "abc".to_owned()),
            (A.to_owned(), A.to_owned()),
            (format!("{A}:0"), "0".to_owned()),
            (format!("{A}:1-x"), "1-x".to_owned()),
            (format!("{A}:9223372036854775807"), "9223372036854775807".to_owned()),
            (format!("{A}:{}:1", "t".repeat(33)), "t".repeat(33)),
            (format!("{A}:ta-g:1"), "ta-g".to_owned()),
            (format!("{A}:tag"), format!("{A}:tag")),
            ("3e11fa4771ca-11e1-9e33-c80aa9429562:1".to_owned(), "3e11fa4771ca-11e1-9e33-c80aa9429562".to_owned()),
        ] {
            assert_eq!(GtidSet::parse(&text).unwrap_err().text, piece, "from {text:?}");
        }
    }

    #[test]
    fn a_tag_makes_another_source() {
        let tagged = set(&format!("{A}:t:1-5"));
        assert!(tagged.has_tags());
        assert!(!set(&format!("{A}:1-3")).is_subset(&tagged));
        assert!(!tagged.is_subset(&set(&format!("{A}:1-9"))));
        assert!(tagged.is_subset(&set(&format!("{A}:1:t:1-6"))));
    }

    #[test]
    fn gaps_stay_gaps() {
        let mut executed = set(&format!("{A}:1-5:8"));
        assert!(!executed.contains(parse_uuid(A).unwrap(), "", 6));
        executed.insert(parse_uuid(A).unwrap(), "", 9);
        assert_eq!(executed.to_string(), format!("{A}:1-5:8-9"));
        executed.insert(parse_uuid(A).unwrap(), "", 7);
        executed.insert(parse_uuid(A).unwrap(), "", 6);
        assert_eq!(executed.to_string(), format!("{A}:1-9"));
    }

    fn model() -> impl Strategy<Value = BTreeSet<(u8, u8, u64)>> {
        proptest::collection::btree_set((0_u8..2, 0_u8..2, 1_u64..30), 0..40)
    }

    fn from_model(numbers: &BTreeSet<(u8, u8, u64)>) -> GtidSet {
        let mut set = GtidSet::default();
        for (uuid, tag, number) in numbers {
            set.insert([*uuid; 16], if *tag == 0 { "" } else { "t" }, *number);
        }
        set
    }

    proptest! {
        #[test]
        fn a_set_behaves_as_the_plain_set_of_its_members(a in model(), b in model()) {
            let (x, y) = (from_model(&a), from_model(&b));
            prop_assert_eq!(GtidSet::parse(&x.to_string()).unwrap(), x.clone());
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert_eq!(x.subtract(&y), from_model(&a.difference(&b).copied().collect()));
            let mut both = x.clone();
            both.union(&y);
            prop_assert_eq!(&both, &from_model(&a.union(&b).copied().collect()));
            for (uuid, tag, number) in b.iter().copied() {
                prop_assert_eq!(x.contains([uuid; 16], if tag == 0 { "" } else { "t" }, number), a.contains(&(uuid, tag, number)));
            }
            for intervals in both.sources.values() {
                prop_assert!(intervals.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "joined: {:?}", intervals);
            }
        }

        #[test]
        fn the_order_of_insertion_does_not_matter(mut numbers in proptest::collection::vec(1_u64..40, 0..60)) {
            let build = |numbers: &[u64]| {
                let mut set = GtidSet::default();
                for number in numbers {
                    set.insert([1; 16], "", *number);
                }
                set
            };
            let as_given = build(&numbers);
            numbers.sort_unstable();
            prop_assert_eq!(as_given, build(&numbers));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-fA-F:,\\-_t \n]{0,80}") {
            if let Ok(set) = GtidSet::parse(&text) {
                prop_assert_eq!(GtidSet::parse(&set.to_string()).unwrap(), set);
            }
        }
    }
}
