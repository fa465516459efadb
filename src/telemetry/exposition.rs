//! The scrape's text: OpenMetrics 1.0, written by prometheus-client from sums that were taken beforehand.

use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::log;
use super::process::Process;
use super::sum::{Buckets, CONNECT_BOUNDS, DURATION_BOUNDS, OVERHEAD_BOUNDS, Sum};
use crate::code::Code;

/// What a scrape shows beside the numbers that workers count: the state of things, read as it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Service and expiry of its token; services without one are left out.
    pub(crate) tokens: Vec<(String, SystemTime)>,
    /// Certificate and expiry of its leaf.
    pub(crate) certificates: Vec<(String, SystemTime)>,
    /// Service, fingerprint and expiry of the OpenPGP keys that it uses; those that never expire are left out.
    pub(crate) openpgp_keys: Vec<(String, String, SystemTime)>,
    pub(crate) config: ConfigGauges,
}

/// What a scrape shows of reloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigGauges {
    pub(crate) generation: u64,
    pub(crate) last_reload_successful: bool,
    /// Of the last reload that was applied or changed nothing, or of the start.
    pub(crate) last_success: Option<SystemTime>,
    pub(crate) applied: u64,
    pub(crate) unchanged: u64,
    pub(crate) refused: u64,
}

/// Token requests by outcome.
pub(super) type TokenCounts = [(&'static str, u64); 3];

/// Writes the text.
pub(super) fn encode(services: Vec<(String, Sum)>, tokens: Vec<(String, TokenCounts)>, gauges: Gauges) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { services, tokens, gauges, process: Process::now() }));
    let mut text = String::new();
    // Invariant: writing into a `String` can't fail, and no encoder of ours fails by itself.
    #[expect(clippy::expect_used)]
    text::encode(&mut text, &registry).expect("a string takes every write");
    text
}

/// All that one scrape shows, already summed.
#[derive(Debug)]
struct Scrape {
    services: Vec<(String, Sum)>,
    tokens: Vec<(String, TokenCounts)>,
    gauges: Gauges,
    process: Process,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Exposition(encoder);
        self.traffic(&mut page)?;
        self.upstream(&mut page)?;
        self.tokens_and_certificates(&mut page)?;
        self.config(&mut page)?;
        self.process(&mut page)
    }
}

impl Scrape {
    fn traffic(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let mut family = page.family(
            "sidekey_requests",
            "Requests by service and by the HTTP status that the app got",
            MetricType::Counter,
        )?;
        for (service, sum) in &self.services {
            for (status, count) in &sum.statuses {
                counter(&mut family, &[("service", service.as_str()), ("code", &status.to_string())], *count)?;
            }
        }
        let mut family = page.family(
            "sidekey_errors",
            "Answers that Sidekey made itself, by service and error code",
            MetricType::Counter,
        )?;
        for (service, sum) in &self.services {
            for (code, count) in Code::ALL.iter().zip(&sum.errors).filter(|(_, count)| **count > 0) {
                counter(&mut family, &[("service", service.as_str()), ("error", code.word())], *count)?;
            }
        }
        let help = "Requests that are being carried now";
        let mut family = page.family("sidekey_requests_in_flight", help, MetricType::Gauge)?;
        for (service, sum) in &self.services {
            gauge(&mut family, &[("service", service.as_str())], sum.in_flight)?;
        }
        let help = "From a request's head to the end of its answer";
        self.histogram(page, "sidekey_request_duration_seconds", help, DURATION_BOUNDS, |sum| &sum.duration)?;
        let help = "Sidekey's own share of the time, waits for tokens and connections aside";
        self.histogram(page, "sidekey_overhead_seconds", help, OVERHEAD_BOUNDS, |sum| &sum.overhead)
    }

    fn upstream(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let help = "New connections to the service: name look-up, TCP and TLS together";
        self.histogram(page, "sidekey_upstream_connect_seconds", help, CONNECT_BOUNDS, |sum| &sum.connect)?;
        let help = "Connections to the service that carry a request (active) or wait for one (idle)";
        let mut family = page.family("sidekey_upstream_connections", help, MetricType::Gauge)?;
        for (service, sum) in self.services.iter().filter(|(service, _)| !service.is_empty()) {
            gauge(&mut family, &[("service", service.as_str()), ("state", "active")], sum.active)?;
            gauge(&mut family, &[("service", service.as_str()), ("state", "idle")], sum.idle)?;
        }
        Ok(())
    }

    fn tokens_and_certificates(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let help = "Token requests by outcome; one that services share counts under each of them";
        let mut family = page.family("sidekey_token_requests", help, MetricType::Counter)?;
        for (service, counts) in &self.tokens {
            for (outcome, count) in counts {
                counter(&mut family, &[("service", service.as_str()), ("outcome", outcome)], *count)?;
            }
        }
        let help = "When the token in hand expires, in seconds since the epoch";
        let mut family = page.family("sidekey_token_expiry_timestamp_seconds", help, MetricType::Gauge)?;
        for (service, expiry) in &self.gauges.tokens {
            gauge(&mut family, &[("service", service.as_str())], since_epoch(*expiry))?;
        }
        let help = "When the certificate expires, in seconds since the epoch";
        let mut family = page.family("sidekey_certificate_expiry_timestamp_seconds", help, MetricType::Gauge)?;
        for (certificate, expiry) in &self.gauges.certificates {
            gauge(&mut family, &[("certificate", certificate.as_str())], since_epoch(*expiry))?;
        }
        // Most configs have none, and a build may lack them.
        if !self.gauges.openpgp_keys.is_empty() {
            let help = "When the OpenPGP key expires, in seconds since the epoch";
            let mut family = page.family("sidekey_openpgp_key_expiry_timestamp_seconds", help, MetricType::Gauge)?;
            for (service, key, expiry) in &self.gauges.openpgp_keys {
                gauge(&mut family, &[("service", service.as_str()), ("key", key.as_str())], since_epoch(*expiry))?;
            }
        }
        Ok(())
    }

    fn config(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let config = &self.gauges.config;
        page.gauge("sidekey_config_generation", "Number of the config that is in use", Some(config.generation))?;
        page.gauge(
            "sidekey_config_last_reload_successful",
            "1 if the last load of the config was taken, 0 if it was refused",
            Some(u64::from(config.last_reload_successful)),
        )?;
        page.gauge(
            "sidekey_config_last_reload_success_timestamp_seconds",
            "When a load of the config was last taken, in seconds since the epoch",
            config.last_success.map(since_epoch),
        )?;
        let mut family =
            page.family("sidekey_config_reloads", "Reloads of the config by outcome", MetricType::Counter)?;
        for (outcome, count) in
            [("applied", config.applied), ("unchanged", config.unchanged), ("refused", config.refused)]
        {
            counter(&mut family, &[("outcome", outcome)], count)?;
        }
        Ok(())
    }

    fn process(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let help = "Log lines that were dropped because standard error did not take them in time";
        page.counter("sidekey_log_lines_dropped", help, Some(log::lines_dropped() as f64))?;
        let mut build = page.family("sidekey_build", "The version that is running", MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let process = &self.process;
        page.counter("process_cpu_seconds", "CPU time used, user and system", process.cpu_seconds)?;
        page.gauge("process_resident_memory_bytes", "Resident memory", process.resident_bytes)?;
        page.gauge("process_virtual_memory_bytes", "Virtual memory", process.virtual_bytes)?;
        page.gauge("process_open_fds", "Open file descriptors", process.open_descriptors)?;
        page.gauge("process_max_fds", "Limit of open file descriptors", process.max_descriptors)?;
        page.gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since the epoch",
            process.start_seconds,
        )
    }

    fn histogram(
        &self,
        page: &mut Exposition<'_>,
        name: &str,
        help: &str,
        bounds: &[Duration],
        of: impl Fn(&Sum) -> &Buckets,
    ) -> fmt::Result {
        let mut family = page.family(name, help, MetricType::Histogram)?;
        let bounds = || bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        for (service, sum) in &self.services {
            let buckets = of(sum);
            let counts: Vec<_> = bounds().zip(buckets.counts.iter().copied()).collect();
            let seconds = Duration::from_nanos(buckets.sum_nanos).as_secs_f64();
            let labels = [("service", service.as_str())];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                seconds,
                buckets.counts.iter().sum(),
                &counts,
                None,
            )?;
        }
        Ok(())
    }
}

/// The text as it grows, one metric family after the other.
struct Exposition<'a>(DescriptorEncoder<'a>);

impl Exposition<'_> {
    fn family<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    /// A gauge without labels, if its value is known.
    fn gauge(&mut self, name: &str, help: &str, value: Option<impl EncodeGaugeValue>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A counter without labels, if its value is known.
    fn counter(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.family(name, help, MetricType::Counter)?.encode_counter(&value, NO_EXEMPLAR)
    }
}

fn counter(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter(&value, NO_EXEMPLAR)
}

fn gauge(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&value)
}

/// Whole seconds since the epoch.
fn since_epoch(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::metrics::{Metrics, TokenOutcome};
    use super::*;

    /// A scrape without what differs from run to run.
    fn scrape(metrics: &Metrics, gauges: Gauges) -> String {
        let text = metrics.encode(gauges);
        let ours = text.lines().filter(|line| !line.starts_with("process_") && !line.contains("_bucket"));
        ours.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn a_scrape_is_open_metrics_text() {
        let metrics = Metrics::default();
        let numbers = metrics.numbers(0, "payments");
        numbers.started();
        numbers.answered(StatusCode::BAD_GATEWAY);
        numbers.failed(Code::DnsError);
        numbers.overhead(Duration::from_micros(30));
        numbers.connected(Duration::from_millis(3));
        numbers.connections(1, 2);
        metrics.numbers(0, "").answered(StatusCode::NOT_FOUND);
        metrics.token_numbers("payments").requested(TokenOutcome::Rejected);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);

        let text = scrape(
            &metrics,
            Gauges {
                tokens: vec![("payments".to_owned(), at(1_800_000_000))],
                certificates: vec![("partner".to_owned(), at(1_900_000_000))],
                openpgp_keys: Vec::new(),
                config: ConfigGauges {
                    generation: 3,
                    last_reload_successful: true,
                    last_success: Some(at(1_700_000_000)),
                    applied: 2,
                    unchanged: 1,
                    refused: 0,
                },
            },
        );

        insta::assert_snapshot!(text);
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_infinity() {
        let metrics = Metrics::default();
        for worker in 0..2 {
            let numbers = metrics.numbers(worker, "payments");
            numbers.overhead(Duration::from_micros(7));
            numbers.overhead(Duration::from_millis(700));
        }

        let text = metrics.encode(Gauges::default());

        let buckets = text.lines().filter(|line| line.starts_with("sidekey_overhead_seconds_bucket"));
        insta::assert_snapshot!(buckets.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn what_the_process_uses_is_shown() {
        let text = Metrics::default().encode(Gauges::default());

        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_start_time_seconds",
        ] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} in {text}");
        }
    }
}
