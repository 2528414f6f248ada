//! What of a change of a table reaches a sink, once every schema that it names is decided.
//!
//! A schema id that could not be known is *left out*: its rows do not reach a sink, nor does a change to it. A later
//! change from it reaches the sink as one from the last schema before it that was known.
//!
//! Pure, but for looks at the log's state: a model of a sink decides with it as the delivery does.

use std::borrow::Cow;

use crate::codec::catalog::{Catalog, Resolved};
use crate::codec::frame::TableChange;
use crate::codec::state::State;
use crate::error::Failure;
use crate::model::SchemaId;

/// What of a change reaches the sink, once every schema in it is decided. `None`: it leads to a schema that is left
/// out.
///
/// A rename to such a schema reaches the sink as the end of the table: what it is under its new name comes with the
/// read that the source makes of it.
///
/// # Errors
/// Fatal, when a schema that the change needs is not in the log or not decided, or the log cannot be read.
pub fn followed<'c, S: State>(
    change: &'c TableChange,
    catalog: &mut Catalog<S>,
) -> Result<Option<Cow<'c, TableChange>>, Failure> {
    let mut is_left_out =
        |id: SchemaId| -> Result<bool, Failure> { Ok(matches!(catalog.resolve(id)?, Resolved::LeftOut { .. })) };
    Ok(match change {
        TableChange::Schema { to, .. } if is_left_out(*to)? => None,
        TableChange::Schema { table, from: Some(from), to, renamed, lost: _ } if is_left_out(*from)? => {
            let from = known_before(Some(*from), catalog)?;
            let known = from.map(|from| catalog.get(from)).transpose()?;
            // Names that only the left-out schema had are of no column that the sink knows.
            let has = |name: &String| known.iter().any(|known| known.columns.iter().any(|column| column.name == *name));
            let renamed = renamed.iter().filter(|(old, _)| has(old)).cloned().collect();
            // Nobody has judged the way from there to here, and the read that the left-out rows need replaces the copy.
            let lost = from.is_some();
            Some(Cow::Owned(TableChange::Schema { table: table.clone(), from, to: *to, renamed, lost }))
        }
        TableChange::ReplaceBegin { schema, .. } if is_left_out(*schema)? => None,
        TableChange::Rename { from, schema, .. } if is_left_out(*schema)? => {
            Some(Cow::Owned(TableChange::Drop { table: from.clone() }))
        }
        TableChange::Schema { .. }
        | TableChange::Truncate { .. }
        | TableChange::Drop { .. }
        | TableChange::Rename { .. }
        | TableChange::ReplaceBegin { .. }
        | TableChange::ReplaceEnd { .. }
        | TableChange::Gap { .. }
        | TableChange::LeftOut { .. } => Some(Cow::Borrowed(change)),
    })
}

/// The schema itself if it is known, else the last one before it that is.
fn known_before<S: State>(mut id: Option<SchemaId>, catalog: &mut Catalog<S>) -> Result<Option<SchemaId>, Failure> {
    while let Some(at) = id {
        id = match catalog.resolve(at)? {
            Resolved::Known(_) => return Ok(Some(at)),
            // The caller has waited for all of them.
            Resolved::Pending(seen) => {
                return Err(Failure::fatal(format!("schema {at} of table \"{}\" is not decided", seen.name)));
            }
            Resolved::LeftOut { before, .. } => before,
        };
    }
    Ok(None)
}
