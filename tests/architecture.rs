//! The import rules between the modules of `src/` and `wal/`.
