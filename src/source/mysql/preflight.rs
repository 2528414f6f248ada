//! What `check` looks at in the source.
