//! What a sink's rules make of a table before its target sees it, the same for every target: which rows reach it, which columns are hashed, and the
//! tag of the source.
//!
//! A target knows of none of this. It is shown a schema in which a hashed column is the text of its hash and the tag is a column of its own
//! ([`shown_schema`]), and sections of rows of that schema ([`RowRules`]). So types, keys, definitions and encoders need no case for it. Tables
//! without such a rule cost nothing: their rows go to the target as they lie in the log.

mod cut;
mod filter;
mod rewrite;
mod schema;

pub(super) use self::cut::{Cut, Kind};
use self::filter::Filter;
pub(super) use self::filter::RuleScratch;
use self::rewrite::Rewrite;
pub use self::schema::missing_columns;
pub(super) use self::schema::{distrusts, hides_on, shown_schema, tag_of};
use std::sync::Arc;

use crate::codec::row_image::{ImageError, Plan, Scratch};
use crate::config::{Keyless, Mode, SinkPlan};
use crate::error::Failure;
use crate::model::{TableName, TableSchema};
use crate::sink::layout::Dialect;

/// Why a table does not reach a sink whose own `include` and `exclude` leave it out.
pub const NOT_TAKEN: &str = "`include` and `exclude` of the sink leave it out";
/// Why a table without a key does not reach a sink.
const SKIPPED: &str = "it has no key, and `keyless: skip` leaves it out";

/// Why a table of this schema does not reach a sink whose types are `D`.
pub(super) fn leaves_out<D: Dialect>(plan: &SinkPlan, schema: &TableSchema) -> Option<&'static str> {
    if !plan.takes(&schema.name) {
        return Some(NOT_TAKEN);
    }
    if D::MIRRORS_KEYLESS || schema.key.is_some() {
        return None;
    }
    let options = plan.options_for(&schema.name);
    (options.mode == Mode::Mirror && options.keyless == Keyless::Skip).then_some(SKIPPED)
}

/// What the rules make of the rows of one schema.
#[derive(Debug)]
pub(super) struct RowRules {
    /// Finds where images end.
    walker: Plan,
    /// Places of the columns that the filter looks at are all in the key: an image of which the key alone is known says whether the row is taken.
    filters_by_key: bool,
    filter: Option<Filter>,
    rewrite: Option<Rewrite>,
}

impl RowRules {
    /// Finds where images of the source's schema end.
    pub(super) fn walker(&self) -> &Plan {
        &self.walker
    }

    /// For rows of a schema of the source; `None`: they go to the target as they are.
    ///
    /// # Errors
    /// Of class `Row`, where a rule cannot be followed for this table.
    pub(super) fn of(plan: &SinkPlan, schema: &TableSchema) -> Result<Option<Self>, Failure> {
        let options = plan.options_for(&schema.name);
        let filter = Filter::new(schema, &options.rows)?;
        let rewrite = Rewrite::new(plan, schema, &options.hash)?;
        if filter.is_none() && rewrite.is_none() {
            return Ok(None);
        }
        let key = schema.key.as_ref().map(|key| key.columns.as_slice()).unwrap_or_default();
        let filters_by_key = filter.as_ref().is_some_and(|filter| filter.columns().all(|column| key.contains(&column)));
        let walker = Plan::walker(schema).map_err(|error| unreadable(&schema.name, error))?;
        Ok(Some(Self { walker, filters_by_key, filter, rewrite }))
    }
}

/// Finds the keys of rows of one schema as a target has them, which is how dead letters know their rows.
#[derive(Debug)]
pub struct RowKeys {
    walker: Plan,
    rewrite: Option<Rewrite>,
    /// Of the schema as the target is shown it.
    shown: Plan,
    key: Vec<u16>,
    scratch: Scratch,
    made: Vec<u8>,
}

impl RowKeys {
    /// For rows of a schema at a sink; `None`: they have no key.
    ///
    /// # Errors
    /// Of class `Row`, where a rule cannot be followed for this table.
    pub(super) fn of(plan: &SinkPlan, schema: &TableSchema) -> Result<Option<Self>, Failure> {
        let rewrite = Rewrite::new(plan, schema, &plan.options_for(&schema.name).hash)?;
        let shown = shown_schema(plan, Arc::new(schema.clone()));
        Self::new(schema, rewrite, &shown)
    }

    /// For rows that a target has as the source has them.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) fn plain(schema: &TableSchema) -> Result<Option<Self>, Failure> {
        Self::new(schema, None, schema)
    }

    fn new(schema: &TableSchema, rewrite: Option<Rewrite>, shown: &TableSchema) -> Result<Option<Self>, Failure> {
        let Some(key) = &shown.key else { return Ok(None) };
        let plan = |of: &TableSchema| Plan::walker(of).map_err(|error| unreadable(&schema.name, error));
        let (walker, shown_plan) = (plan(schema)?, plan(shown)?);
        let (key, scratch, made) = (key.columns.clone(), Scratch::default(), Vec::new());
        Ok(Some(Self { walker, rewrite, shown: shown_plan, key, scratch, made }))
    }

    /// The hash of the key of the first image of these, and how many bytes the image has.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn first(&mut self, images: &[u8]) -> Result<(u128, usize), ImageError> {
        let Some(rewrite) = &self.rewrite else {
            return Ok((self.shown.key_hash(&self.key, images)?, self.walker.image_len(images)?));
        };
        self.made.clear();
        let used = rewrite.image(images, &mut self.scratch, &mut self.made)?;
        Ok((self.shown.key_hash(&self.key, &self.made)?, used))
    }
}

fn unreadable(table: &TableName, error: crate::codec::row_image::PlanError) -> Failure {
    Failure::row(format!("rows of {table} cannot be read")).caused_by(error)
}

#[cfg(test)]
mod tests;
