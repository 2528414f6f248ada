//! MariaDB's GTID position: the last GTID of each replication domain, `domain-server-sequence`, in order of domains.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::GtidTextError;

/// The last GTID of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Server that wrote it.
    pub server: u32,
    /// Its sequence number.
    pub sequence: u64,
}

/// A position over all domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidList {
    domains: BTreeMap<u32, Last>,
}

impl GtidList {
    /// The position that the server prints as `text`.
    ///
    /// # Errors
    /// [`GtidTextError`] for a text that is none, or names a domain twice.
    pub fn parse(text: &str) -> Result<Self, GtidTextError> {
        let mut list = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (domain, last) = parse_one(part)?;
            if list.domains.insert(domain, last).is_some() {
                return Err(GtidTextError::new(part, "domain named only once"));
            }
        }
        Ok(list)
    }

    /// Whether it has no domain.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// How many domains it has.
    pub fn domains(&self) -> usize {
        self.domains.len()
    }

    /// The domain's last GTID becomes this one.
    pub fn set(&mut self, domain: u32, server: u32, sequence: u64) {
        self.domains.insert(domain, Last { server, sequence });
    }

    /// The last GTID of a domain.
    pub fn last(&self, domain: u32) -> Option<Last> {
        self.domains.get(&domain).copied()
    }

    /// Whether a binlog holds, or held before it was purged, the last GTID of every domain. `state` is the binlog's own account,
    /// `@@gtid_binlog_state`: the last GTID of each server that has written to each domain. Without `gtid_strict_mode` a domain may
    /// go back in its sequence when another server writes to it (`0-1-1000`, then `0-2-500`), and the sequences of one server say what
    /// those of the domain do not.
    ///
    /// # Errors
    /// [`GtidTextError`] for a text that is none.
    pub fn is_in_binlog(&self, state: &str) -> Result<bool, GtidTextError> {
        let mut written = BTreeMap::new();
        for part in state.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (domain, last) = parse_one(part)?;
            written.insert((domain, last.server), last.sequence);
        }
        Ok(self.domains.iter().all(|(domain, mine)| {
            written.get(&(*domain, mine.server)).is_some_and(|sequence| *sequence >= mine.sequence)
        }))
    }

    /// The first domain in which `self` is ahead of `other`: its sequence is higher, or `other` lacks the domain. Within a domain this is
    /// the order of time only where it holds to `gtid_strict_mode`.
    pub fn first_domain_ahead_of(&self, other: &Self) -> Option<u32> {
        self.domains
            .iter()
            .find(|(domain, mine)| other.last(**domain).is_none_or(|theirs| mine.sequence > theirs.sequence))
            .map(|(domain, _)| *domain)
    }
}

/// One GTID: its domain, and the rest.
fn parse_one(part: &str) -> Result<(u32, Last), GtidTextError> {
    let fail = || GtidTextError::new(part, "MariaDB GTID (domain-server-sequence)");
    let mut numbers = part.split('-');
    let (Some(domain), Some(server), Some(sequence), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return Err(fail());
    };
    let domain = domain.parse().map_err(|_| fail())?;
    let last = Last { server: server.parse().map_err(|_| fail())?, sequence: sequence.parse().map_err(|_| fail())? };
    Ok((domain, last))
}

impl fmt::Display for GtidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (domain, last)) in self.domains.iter().enumerate() {
            if i > 0 {
                f.write_char(',')?;
            }
            write!(f, "{domain}-{}-{}", last.server, last.sequence)?;
        }
        Ok(())
    }
}

impl FromStr for GtidList {
    type Err = GtidTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_reads_back_in_order_of_domains() {
        assert_eq!(GtidList::parse("7-2-100, 0-1-270").unwrap().to_string(), "0-1-270,7-2-100");
        assert_eq!(GtidList::parse(" ").unwrap().to_string(), "");
        for bad in ["0-1", "0-1-2-3", "x-1-2", "0-1-2,0-1-3", "4294967296-1-1"] {
            assert!(GtidList::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_list_is_ahead_where_its_sequence_is_higher_or_the_domain_unknown() {
        let list = |text| GtidList::parse(text).unwrap();
        assert_eq!(list("0-1-5,1-1-5").first_domain_ahead_of(&list("0-2-6,1-1-5,2-1-1")), None);
        assert_eq!(list("0-1-7").first_domain_ahead_of(&list("0-1-6")), Some(0));
        assert_eq!(list("0-1-1,3-1-1").first_domain_ahead_of(&list("0-1-6")), Some(3));
    }

    #[test]
    fn a_binlog_has_a_list_whose_servers_have_written_that_far_in_whatever_order() {
        let list = |text| GtidList::parse(text).unwrap();
        assert!(list("0-1-1000").is_in_binlog("0-1-1000,0-2-500").unwrap());
        assert!(list("0-2-500,3-1-7").is_in_binlog("0-1-1000,0-2-500,3-1-8").unwrap());
        for (ours, state) in
            [("0-1-1000", "0-2-500"), ("0-1-1000", "0-1-999,0-2-2000"), ("3-1-1", "0-1-9"), ("0-1-1", "")]
        {
            assert!(!list(ours).is_in_binlog(state).unwrap(), "{ours} in {state}");
        }
        assert!(list("").is_in_binlog("").unwrap());
        assert!(list("").is_in_binlog("0-1").is_err());
    }

    proptest! {
        #[test]
        fn text_and_list_agree(entries in proptest::collection::btree_map(any::<u32>(), (any::<u32>(), any::<u64>()), 0..6)) {
            let mut list = GtidList::default();
            for (domain, (server, sequence)) in entries {
                list.set(domain, server, sequence);
            }
            prop_assert_eq!(GtidList::parse(&list.to_string()).unwrap(), list);
        }
    }
}
