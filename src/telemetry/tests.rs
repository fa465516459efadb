//! What a worker counts, and what a scrape reads of it.

use std::time::Duration;

use http::StatusCode;

use super::tally::{Histogram, Statuses};

#[test]
fn every_status_has_a_count_of_its_own_however_many_there_are() {
    let statuses = Statuses::default();

    for status in 200..300 {
        for _ in 0..status - 199 {
            statuses.add(StatusCode::from_u16(status).unwrap());
        }
    }

    let mut counted = Vec::new();
    statuses.for_each(&mut |status, count| counted.push((status, count)));
    let expected: Vec<_> = (200..300).map(|status| (status, u64::from(status) - 199)).collect();
    assert_eq!(counted, expected);
}

#[test]
fn a_value_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
    const BOUNDS: &[Duration] = &[Duration::from_micros(10), Duration::from_micros(100)];
    let histogram = Histogram::new(BOUNDS);

    for micros in [0, 10, 11, 100, 101, 5_000_000] {
        histogram.observe(Duration::from_micros(micros));
    }

    assert_eq!(histogram.counts().collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(histogram.sum_nanos(), 5_000_222_000);
}
