//! What `RENAME TABLE` comes to as a whole.

use crate::model::TableName;

/// The steps of `RENAME TABLE` without those of tables that have their own name again at its end, where no other table takes part in them.
pub(super) fn without_returns(pairs: &[(TableName, TableName)]) -> Vec<(TableName, TableName)> {
    // Each table that takes part: the steps that it takes.
    let mut tables: Vec<Vec<usize>> = Vec::new();
    for (step, (from, _)) in pairs.iter().enumerate() {
        let is_at =
            |steps: &Vec<usize>| steps.last().and_then(|last| pairs.get(*last)).is_some_and(|(_, at)| at == from);
        match tables.iter_mut().find(|steps| is_at(steps)) {
            Some(steps) => steps.push(step),
            None => tables.push(vec![step]),
        }
    }
    let names = |steps: &[usize]| -> Vec<&TableName> {
        steps.iter().filter_map(|step| pairs.get(*step)).flat_map(|(from, to)| [from, to]).collect()
    };
    let returns = |steps: &[usize]| {
        let (names_of, others) = (names(steps), tables.iter().filter(|other| *other != steps));
        names_of.first() == names_of.last()
            && !others.flat_map(|other| names(other)).any(|name| names_of.contains(&name))
    };
    let dropped: Vec<usize> = tables.iter().filter(|steps| returns(steps)).flatten().copied().collect();
    let kept = pairs.iter().enumerate().filter(|(step, _)| !dropped.contains(step));
    kept.map(|(_, pair)| pair.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_has_its_own_name_again_was_not_renamed() {
        let kept = |pairs: &[(&str, &str)]| -> Vec<String> {
            let table = |name: &&str| TableName::new("d", *name);
            let pairs: Vec<(TableName, TableName)> = pairs.iter().map(|(from, to)| (table(from), table(to))).collect();
            without_returns(&pairs).iter().map(|(from, to)| format!("{}>{}", from.table, to.table)).collect()
        };
        assert_eq!(kept(&[("a", "b")]), ["a>b"]);
        assert_eq!(kept(&[("a", "b"), ("b", "a")]), [""; 0]);
        assert_eq!(kept(&[("a", "b"), ("c", "d"), ("b", "e"), ("e", "a")]), ["c>d"]);
        assert_eq!(kept(&[("a", "t"), ("b", "a"), ("t", "b")]), ["a>t", "b>a", "t>b"]);
        assert_eq!(kept(&[("a", "b"), ("c", "a"), ("a", "d"), ("b", "a")]), ["a>b", "c>a", "a>d", "b>a"]);
    }
}
