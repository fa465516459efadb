//! An address that can't be listened on, told at the place where it is written.

use super::listener::BindError;
use crate::config::{At, Config, ListenAddress, Overrides, Report, Span};

/// Says so at the address itself, or with what has named it instead of the config.
pub(super) fn tell(error: &BindError, config: &Config, overrides: &Overrides, report: &mut Report) {
    let place = |written: &[At<ListenAddress>]| {
        written.iter().find(|address| address.value.to_string() == error.address).map(|address| address.span)
    };
    let admin = config.admin.as_ref();
    let places = [
        (place(&config.listen), overrides.listen_named_by(), "listen: ADDRESS"),
        (admin.and_then(|admin| place(&admin.listen)), overrides.admin_named_by(), "admin: { listen: ADDRESS }"),
        (admin.and_then(|admin| place(&admin.health)), None, "admin: { health: ADDRESS }"),
    ];
    let Some((span, named_by, key)) = places.into_iter().find_map(|(span, by, key)| Some((span?, by, key))) else {
        // The service manager has handed it over.
        report.error(Span::NOWHERE, error.to_string());
        return;
    };
    let drawn = report.error(span, error.to_string());
    if span == Span::NOWHERE {
        drawn.help(match named_by {
            Some(named_by) => format!("this address comes from {named_by}, which goes before the config"),
            None => format!("this address is the default; for another one, write `{key}`"),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;
    use crate::config::{Color, ConfigSource, Inputs, Secrets, load};

    #[track_caller]
    fn check(text: &str, address: &str, expected: &str) {
        let (config, report) = load(&ConfigSource::Text(text.to_owned()), &Inputs::new(Secrets::Skip));
        let (config, mut report) = (config.expect("a config"), report.sequel());
        let error = BindError { address: address.to_owned(), source: Error::from(ErrorKind::AddrInUse) };

        tell(&error, &config, &Overrides::default(), &mut report);

        let drawn = report.render(Color::Plain);
        assert!(drawn.contains("address in use") && drawn.contains(expected), "{text}: {drawn}");
    }

    #[test]
    fn an_address_is_told_where_it_is_written_or_that_it_is_not() {
        check(
            "services: {}",
            "localhost:9800",
            "this address is the default; for another one, write `listen: ADDRESS`",
        );
        check("services: {}", "localhost:9900", "for another one, write `admin: { listen: ADDRESS }`");
        check("services: {}\nlisten: [localhost:1, localhost:2]", "localhost:2", ":2:23");
        check("services: {}\nadmin: { health: 127.0.0.1:3 }", "127.0.0.1:3", ":2:18");
    }
}
