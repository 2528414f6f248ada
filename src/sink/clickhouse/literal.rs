//! x
use crate::error::Failure;
use crate::model::{Column, TableName};
pub(super) fn default_literal(_t: &TableName, _c: &Column, _ty: &str) -> Result<Option<String>, Failure> {
    Ok(None)
}
