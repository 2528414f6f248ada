//! Tests of the sink as the delivery loop drives it: frames in, file out.

mod changes;
mod contract;
mod counts;
mod dead;
mod format;
mod keyless;
mod model;
mod policies;
mod replaces;
mod rows;
mod stops;
mod values;
mod writers;
