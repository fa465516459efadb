//! Logs and numbers.
//!
//! The only place that knows how a log line is written, which metrics there are, and what their labels are called.

pub(crate) mod errors;
mod exposition;
pub(crate) mod limit;
mod lines;
pub(crate) mod log;
pub(crate) mod metrics;
mod process;
mod sum;
mod sync;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use exposition::{ConfigGauges, Gauges};
