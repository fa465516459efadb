//! How answers are read: from bytes in any pieces, and beside hyper's client; and how bodies are written.

mod beside_hyper;
mod reading;
mod writing;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// Tries so many cases, and says which: `SIDEKEY_TEST_SEED` tries the same ones again.
#[track_caller]
fn try_all<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value)) -> u64 {
    let given = std::env::var("SIDEKEY_TEST_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("SIDEKEY_TEST_SEED is a number"));
    let mut runner = TestRunner::new(ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        // The seed brings it back.
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    let outcome = runner.run(strategy, |case| {
        test(case);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("SIDEKEY_TEST_SEED={seed}: {error}"));
    seed
}
