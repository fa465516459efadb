//! `Server-Timing` (W3C): where the time of an exchange went, for the app to see.
//!
//! Made of the waits that are measured anyway, so that services without it pay for no look at the clock.

use std::time::Duration;

use http::HeaderValue;

/// The waits of one exchange; those of several sendings are added up.
#[derive(Debug, Default)]
pub(super) struct ServerTiming {
    credential: Duration,
    connection: Duration,
    service: Duration,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExchangePhase {
    Credential,
    /// A connection, then the answer's head.
    Service,
    /// The rest of a body that is sent only once it is whole: the app knows of that time.
    App,
}

impl ServerTiming {
    pub(super) fn add(&mut self, what: ExchangePhase, waited: Duration) {
        match what {
            ExchangePhase::Credential => self.credential += waited,
            ExchangePhase::Service => self.service += waited,
            ExchangePhase::App => {}
        }
    }

    /// So much of the wait for the service was one for a connection.
    pub(super) fn connected_after(&mut self, waited: Duration) {
        self.connection += waited;
        self.service = self.service.saturating_sub(waited);
    }

    /// The field's value; `ours` is the time that was spent on work of our own.
    pub(super) fn tell(&self, ours: Duration) -> HeaderValue {
        let [ours, token, connect, upstream] =
            [ours, self.credential, self.connection, self.service].map(|time| time.as_micros() as f64 / 1_000.0);
        let text = format!("sidekey;dur={ours}, token;dur={token}, connect;dur={connect}, upstream;dur={upstream}");
        // Digits and names of ours: a field can always say them.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("sidekey"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_are_told_in_milliseconds_and_a_connections_making_is_no_time_of_the_services() {
        let mut timing = ServerTiming::default();

        timing.add(ExchangePhase::Credential, Duration::from_micros(1_500));
        timing.add(ExchangePhase::Service, Duration::from_millis(30));
        timing.connected_after(Duration::from_millis(10));
        timing.add(ExchangePhase::Service, Duration::from_millis(2));
        timing.connected_after(Duration::ZERO);

        let told = timing.tell(Duration::from_micros(42));
        assert_eq!(told, "sidekey;dur=0.042, token;dur=1.5, connect;dur=10, upstream;dur=22");
    }
}
