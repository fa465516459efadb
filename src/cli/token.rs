//! `sidekey token`: fetches a service's token and shows what it is.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{ConfigArgument, FAILED, WRONG};
use crate::clock::rfc3339;
use crate::config::{self, Inputs, Secrets};
use crate::credential::oauth2::{ObtainError, Obtained};
use crate::credential::{Compact, Slots};
use crate::legible::{legible, legible_json};
use crate::server::worker::runtime_of_one_thread;
use crate::snapshot::{Service, Snapshot};

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The service whose token is fetched.
    service: String,
    /// Print the token and nothing else.
    #[arg(long)]
    raw: bool,
}

pub(super) fn run(arguments: &TokenArguments) -> ExitCode {
    let inputs = Inputs::new(Secrets::Read);
    let (config, mut report) = match arguments.config.source() {
        Ok(source) => config::load(&source, &inputs),
        Err(wrong) => return wrong,
    };
    let slots = Slots::default();
    let Some(snapshot) = config.and_then(|config| Snapshot::compile(config, None, &slots, &inputs, &mut report)) else {
        anstream::eprint!("{}", report.render(super::color()));
        return ExitCode::from(WRONG);
    };
    let service = match service_with_token(&snapshot, &arguments.service) {
        Ok(service) => service,
        Err(wrong) => {
            anstream::eprintln!("error: {wrong}");
            return ExitCode::from(WRONG);
        }
    };
    let tokens = match runtime_of_one_thread()() {
        Ok(runtime) => {
            let fetched = runtime.block_on(fetch(service, &snapshot));
            // A look-up that goes on must not hold up the end.
            runtime.shutdown_background();
            fetched
        }
        Err(error) => {
            anstream::eprintln!("error: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match tokens {
        Ok(tokens) => {
            print(service, &tokens, arguments.raw);
            for (what, help) in tokens.iter().flat_map(|token| token.oddities.told()) {
                anstream::eprintln!("warning: {what}\n  = help: {help}");
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            anstream::eprintln!("error: no token: {}\n  = help: {}", failure.what(), failure.help());
            ExitCode::from(FAILED)
        }
    }
}

fn service_with_token<'s>(snapshot: &'s Snapshot, name: &str) -> Result<&'s Service, String> {
    let Some(service) = snapshot.service(name) else {
        let known: Vec<_> = snapshot.services.iter().map(|service| service.name.as_str()).collect();
        return Err(format!("there is no service `{name}`; known here: {}", known.join(", ")));
    };
    match service.identities.first().credential.token_slots().next() {
        Some(_) => Ok(service),
        None => {
            let credential = &service.identities.first().credential;
            let what =
                if credential.subjects().next().is_some() { "one token for each subject" } else { "no token to fetch" };
            Err(format!("the service `{name}` has {what}: its method is `{}`", credential.method()))
        }
    }
}

/// The tokens of all its methods that have one.
async fn fetch(service: &Service, snapshot: &Snapshot) -> Result<Vec<Obtained>, ObtainError> {
    let all: Vec<_> = snapshot.slots().into_iter().map(|(slot, _)| Arc::clone(slot)).collect();
    let mut tokens = Vec::new();
    for slot in service.identities.first().credential.token_slots() {
        tokens.push(slot.obtain(&all).await?);
    }
    Ok(tokens)
}

fn print(service: &Service, tokens: &[Obtained], raw: bool) {
    for (number, token) in tokens.iter().enumerate() {
        match (raw, number) {
            (true, _) => anstream::println!("{}", token.access_token.expose()),
            (false, 0) => anstream::print!("{}", describe(service, token)),
            (false, _) => anstream::print!("\n{}", describe(service, token)),
        }
    }
}

/// All that can be said of a token without showing it.
fn describe(service: &Service, token: &Obtained) -> String {
    let named = if service.title == service.name.as_str() { String::new() } else { format!(" ({})", service.title) };
    let mut text = format!("service    {}{named}\n", service.name);
    text += &format!("from       {}\n", token.endpoint);
    text += &format!("type       {}\n", token.token_type);
    text += &format!("lifetime   {}, until {}\n", spell(token.lifetime), rfc3339(token.expires_at));
    if let Some(scope) = &token.scope {
        text += &format!("scope      {scope}\n");
    }
    text + &inside(token.access_token.expose())
}

/// What a JWT says; it is not verified, that is the service's affair. Its signature is not shown: with it, this would be
/// the token.
fn inside(token: &str) -> String {
    let Some((header, claims)) = jwt(token) else {
        return format!("token      opaque, {} characters\n", token.len());
    };
    let shown = |value: &str| value.chars().flat_map(legible).collect::<String>();
    let member = |name| header.get(name).and_then(Value::as_str).map(|value| format!(", {name} {}", shown(value)));
    let members: String = ["alg", "typ", "kid"].into_iter().filter_map(member).collect();
    format!("token      JWT{members}\n\n{}\n", legible_json(&format!("{claims:#}")))
}

/// Header and claims (RFC 7519 §3).
fn jwt(token: &str) -> Option<(Value, Value)> {
    let jwt = Compact::of(token)?;
    let read = |part: Vec<u8>| serde_json::from_slice(&part).ok().filter(Value::is_object);
    Some((read(jwt.header()?)?, read(jwt.payload()?)?))
}

/// A duration in its two largest units: `1h 5m`.
pub(super) fn spell(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn part(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    #[test]
    fn a_jwt_is_shown_without_its_signature() {
        let token = format!(
            "{}.{}.c2lnbmF0dXJl",
            part(r#"{"alg":"ES256","typ":"at+jwt","kid":"key-1"}"#),
            part(r#"{"iss":"https://idp.example","scope":"read"}"#)
        );

        let shown = inside(&token);

        insta::assert_snapshot!(shown, @r#"
        token      JWT, alg ES256, typ at+jwt, kid key-1

        {
          "iss": "https://idp.example",
          "scope": "read"
        }
        "#);
    }

    #[test]
    fn what_is_no_jwt_is_opaque_and_not_shown() {
        for token in ["secret", "a.b.c", "secret.secret.secret.secret"] {
            assert_eq!(inside(token), format!("token      opaque, {} characters\n", token.len()));
        }
    }

    #[test]
    fn what_would_mislead_the_eye_is_spelt_out_in_claims_and_header() {
        let token = format!(
            "{}.{}.c2lnbmF0dXJl",
            part("{\"alg\":\"none\\n\u{202e}x\",\"kid\":\"a\u{200b}b\"}"),
            part("{\"sub\":\"user\u{202e}nimda\",\"na\u{200d}me\":\"\u{9b}31m Łódź \u{e0041}\"}")
        );

        let shown = inside(&token);

        insta::assert_snapshot!(shown, @r#"
        token      JWT, alg none\n\u{202e}x, kid a\u{200b}b

        {
          "na\u200dme": "\u009b31m Łódź \udb40\udc41",
          "sub": "user\u202enimda"
        }
        "#);
        let (_, claims) = shown.split_once("\n\n").unwrap();
        assert_eq!(serde_json::from_str::<Value>(claims).unwrap()["sub"], "user\u{202e}nimda");
    }

    #[test]
    fn durations_are_spelt_in_two_units() {
        let spelt = [0, 59, 60, 299, 3600, 3900, 90_061].map(|seconds| spell(Duration::from_secs(seconds)));

        assert_eq!(spelt, ["0s", "59s", "1m", "4m 59s", "1h", "1h 5m", "25h 1m"]);
    }
}
