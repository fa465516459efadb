//! The report for machines, and settings that stand above the file.

use super::super::{AdminOverride, Color, ConfigSource, Inputs, ListenAddress, Overrides, Secrets, load_with};
use super::invalid;

#[test]
fn a_finding_has_its_place_in_characters() {
    let report = invalid("services: { a: { title: \"über\", url: \"https://ü.example\" } }");

    assert_eq!(
        serde_json::to_value(report.findings()).unwrap(),
        serde_json::json!([{
            "severity": "error",
            "file": "<text>",
            "line": 1,
            "column": 38,
            "message": "a host is written in ASCII",
            "help": "write the `xn--…` form of the name",
        }])
    );
}

#[test]
fn problems_come_in_the_order_of_the_file() {
    let report = invalid("services: { a: { tls: 1, url: 2 } }\nworkers: 0\n");

    let columns: Vec<_> =
        report.findings().iter().map(|finding| (finding.line.unwrap(), finding.column.unwrap())).collect();
    assert_eq!(columns, [(1, 23), (1, 31), (2, 10)]);
}

#[test]
fn a_flag_stands_above_the_file_and_is_checked_like_it() {
    let text = ConfigSource::Text("services: {}\nlisten: localhost:1\nadmin: off".to_owned());
    let flags = |listen: &str| Overrides {
        listen: vec![listen.parse::<ListenAddress>().unwrap()],
        admin: Some(AdminOverride::Listen(vec!["localhost:3".parse().unwrap()])),
        workers: Some(7),
        ..Overrides::default()
    };

    let (config, _) = load_with(&text, &Inputs::new(Secrets::Read), &flags("localhost:2"));
    let config = config.unwrap();
    assert_eq!(config.listen[0].value.to_string(), "localhost:2");
    assert_eq!(config.admin.unwrap().listen[0].value.to_string(), "localhost:3");
    assert_eq!(config.workers, Some(7));

    let (_, report) = load_with(&text, &Inputs::new(Secrets::Read), &flags("0.0.0.0:2"));
    assert!(report.has_errors());
    assert_eq!(
        report.render(Color::Plain),
        "error: `0.0.0.0:2` can be reached from other machines\n |\n = help: set `access.allow_remote: true` and \
         `access.token`, or listen on `localhost`\n\n"
    );
}
