//! A type of sink, as far as the configuration sees it.
//!
//! No type is named here: a sink owns the keys that it alone has, and reads them with [`Section`] and [`Node`].

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::file::Lookup;
use super::source::read_password;
use super::tree::{Node, Section};
use super::{BatchPlan, Password, SinkPlan, ZeroDates};
use crate::error::Failure;

/// What is particular to a sink, of whichever type.
pub trait SinkSettings: Any + Debug + Send + Sync {
    /// The type as the configuration spells it.
    fn type_name(&self) -> &'static str;

    /// The template of its tables' names, from the one of `table_name`.
    fn table_name(&self, template: &str) -> String {
        template.to_owned()
    }

    /// Where the sink writes, with its template of table names.
    fn place(&self, table_name: &str) -> Place;

    /// The password of its account, if its target has accounts.
    fn password(&self) -> Option<&Password> {
        None
    }
}

/// Where a sink writes: two sinks of one place would overwrite each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The key that decides it.
    pub key: &'static str,
    /// Equal for two sinks of one type that write to one place.
    pub place: String,
    /// What is said of the second one: "... of sinks\[0\]" follows.
    pub message: String,
}

/// A type of sink.
#[derive(Clone, Copy, Debug)]
pub struct SinkType {
    /// The word after `type:`.
    pub name: &'static str,
    /// What its `batch` section leaves out.
    pub batch: BatchPlan,
    /// What becomes of zero dates unless told otherwise. A target that can hold them keeps them.
    pub zero_dates: ZeroDates,
    /// Reads the keys that this type alone has. `None`: one is wrong or absent, which has been noted.
    pub read: fn(&Section<'_>, &SinkKeys<'_>) -> Option<Arc<dyn SinkSettings>>,
}

/// What goes with the keys of one sink.
pub struct SinkKeys<'e> {
    /// Its name, if it has a valid one.
    pub(super) name: Option<&'e str>,
    pub(super) environment: &'e Lookup<'e>,
}

impl SinkKeys<'_> {
    /// The sink's password: from the environment, or from the file that `file` names. Neither is an empty password.
    pub fn password(&self, file: &Node<'_>) -> Option<Password> {
        let variable = sink_password_variable(self.name.unwrap_or_default());
        read_password(file, &variable, (self.environment)(&variable))
    }
}

/// The environment variable that holds the password of a sink.
pub fn sink_password_variable(sink: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("REPLICATOR_SINK_{}_PASSWORD", sink.chars().map(plain).collect::<String>())
}

impl SinkPlan {
    /// What is particular to its type.
    ///
    /// # Errors
    /// Fatal, when the plan is for another type than the one that has these settings.
    pub fn settings<T: SinkSettings>(&self) -> Result<&T, Failure> {
        let settings: &dyn Any = &*self.settings;
        settings.downcast_ref().ok_or_else(|| {
            Failure::fatal(format!("the plan of sink \"{}\" is for type {}", self.name, self.settings.type_name()))
        })
    }
}
