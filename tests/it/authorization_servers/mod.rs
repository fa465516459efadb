//! Authorization servers that others wrote, each with good configs and with every wrong one that a person might write:
//! what works, and what Sidekey says, is what `docs/partners.md` says of them.

mod cases;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use tokio::task::spawn_blocking;

use self::cases::{GOOD, IN_THE_FIELD, LACKING, SERVERS, WRONG};
use crate::lab::servers::{AuthorizationServer, Kind, ODD_SECRET, SECRET};
use crate::lab::{Lab, program};

/// What came of all of them at one server.
struct Outcome {
    server: &'static str,
    /// Its row of the page's first table.
    row: String,
    /// What was tried and is wrong: what it is, what is said of it with what to do, and words of which one names the cause.
    said: Vec<(&'static str, String, &'static [&'static str])>,
}

async fn outcome(kind: &'static Kind) -> Outcome {
    let lab = Lab::start().await;
    let key = lab.key("client", "ES256");
    lab.key("stranger", "ES256");
    let server = AuthorizationServer::start(&lab, kind, &key).await;
    let refresh = server.refresh_token(&lab).await;
    let all = GOOD.iter().map(|(_, auth)| *auth).chain(WRONG.iter().map(|wrong| wrong.auth));
    let auths: Vec<_> = all.map(|auth| fill_in(auth, kind, &server, refresh.as_deref())).collect();
    let checked = check(&lab, &auths).await;
    let (good, wrong) = checked.split_at(GOOD.len());
    let good: BTreeMap<_, _> = GOOD.iter().map(|(column, _)| *column).zip(good).collect();
    let row = row(&lab, &server, GOOD.map(|(column, _)| works(good[column])));
    let lacking = LACKING.iter().filter_map(|(column, what, named_by)| {
        let said = good[column].as_ref()?.as_ref().err()?;
        Some((*what, told(said, &server), *named_by))
    });
    // Where what is right does not work either, what is said is about that.
    let tried = WRONG.iter().zip(wrong).filter(|(wrong, _)| matches!(good[wrong.of], Some(Ok(()))));
    let wrong = tried.filter_map(|(wrong, result)| {
        let said = result.as_ref()?.as_ref().err()?;
        Some((wrong.what, told(said, &server), wrong.named_by))
    });
    Outcome { server: kind.name, row, said: lacking.chain(wrong).collect() }
}

fn works(result: &Checked) -> &'static str {
    match result {
        None => "–",
        Some(Ok(())) => "yes",
        Some(Err(_)) => "no",
    }
}

/// What the server says of itself and of a token, as curl gets it, and what of Sidekey works with it.
fn row(lab: &Lab, server: &AuthorizationServer, works: [&str; GOOD.len()]) -> String {
    let form = "-d grant_type=client_credentials -d scope=read";
    let token = lab.curl(&format!("-u by-basic:{SECRET} {form} {}", server.token_url()));
    let token: Value = serde_json::from_str(&token).unwrap_or_else(|_| panic!("{}: {token}", server.name()));
    let scope = token["scope"].as_str().unwrap_or("–");
    let kind = token["token_type"].as_str().unwrap_or("–");
    // Some count from the moment at which the token is written, some from that at which it was made.
    let lives = token["expires_in"].as_u64().map_or(0, |seconds| seconds.next_multiple_of(10));
    let metadata = server.metadata(lab);
    let [name, version] = [server.name().to_owned(), server.version()];
    format!("| {name} {version} | {metadata} | {kind} | {scope} | {lives} | {} |", works.join(" | "))
}

/// `None`: the server has nothing that this could be tried with.
fn fill_in(auth: &str, kind: &Kind, server: &AuthorizationServer, refresh: Option<&str>) -> Option<String> {
    let token = server.token_url();
    let mut filled = auth
        .replace("$CREDENTIALS", "type: oauth2_client_credentials")
        .replace("$BASIC", "client_id: by-basic, client_secret: $SECRET")
        .replace("$POST", "client_id: by-post, client_secret: '$ODD', client_auth: post")
        .replace("$KEY", "client_id: by-key, client_key: keys/client.pem, client_key_id: client")
        .replace("$BOB", "client_id: for-bob, client_secret: $SECRET")
        .replace("$URL", "token_url: '$TOKEN'")
        .replace("$TOKEN", &token)
        .replace("$SLASH", &other_slash(&token))
        .replace("$PLAIN", &token.replace("https://", "http://"))
        .replace("$BASE", &server.base())
        .replace("$USER", kind.user.0)
        .replace("$PASSWORD", kind.user.1)
        .replace("$SECRET", SECRET)
        .replace("$ODD", ODD_SECRET);
    if filled.contains("$ISSUER") {
        filled = filled.replace("$ISSUER", &server.issuer()?);
    }
    if filled.contains("$OTHER_ISSUER") {
        filled = filled.replace("$OTHER_ISSUER", &other_slash(&server.issuer()?));
    }
    if filled.contains("$REFRESH") {
        filled = filled.replace("$REFRESH", refresh?);
    }
    (!filled.contains("issuer:") || server.issuer().is_some()).then_some(filled)
}

/// With a slash at the end where there is none, and the other way round.
fn other_slash(url: &str) -> String {
    url.strip_suffix('/').map_or_else(|| format!("{url}/"), str::to_owned)
}

/// Whether there was a token, or what is said instead and what to do; `None` where it was not tried.
type Checked = Option<Result<(), String>>;

/// One `check --online` over a service for each: one, as a refresh token may be good for one.
async fn check(lab: &Lab, auths: &[Option<String>]) -> Vec<Checked> {
    let mut config = "certificates:\n".to_owned();
    for name in ["partner", "other"] {
        writeln!(config, "  {name}: {{ chain: tls/{name}.pem, key: tls/{name}.key }}").unwrap();
    }
    config += "services:\n";
    for (number, auth) in auths.iter().enumerate() {
        let Some(auth) = auth else { continue };
        let service = format!("url: http://$SERVICE_PLAIN/{number}, tls: {{ ca: tls/ca.pem }}, auth: {{ {auth} }}");
        writeln!(config, "  s{number}: {{ {service} }}").unwrap();
    }
    lab.write("sidekey.yaml", &lab.fill_in(&config));
    let mut program = lab.program();
    let output = spawn_blocking(move || program::output(program.args(["check", "--online"]))).await.unwrap();
    let [said, problems] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let of_one = |number: usize| {
        let is_well = said.lines().any(|line| line.starts_with(&format!("s{number}: token ok (")));
        // Used all the same, with a warning.
        match (is_well, problem(&problems, number)) {
            (true, Some(told)) => Err(format!("token ok, but {told}")),
            (true, None) => Ok(()),
            (false, Some(told)) => Err(told),
            (false, None) => panic!("nothing is said of s{number}: {said} {problems}"),
        }
    };
    auths.iter().enumerate().map(|(number, auth)| auth.as_ref().map(|_| of_one(number))).collect()
}

/// What is said of the service with this number, and what to do.
fn problem(problems: &str, number: usize) -> Option<String> {
    problems.split("\n\n").find_map(|block| {
        let (_, message) = block.lines().next()?.split_once(": ")?;
        let message = message.strip_prefix(&format!("`s{number}`: "))?;
        let help = block.lines().find_map(|line| line.trim_start().strip_prefix("= help: "))?;
        Some(format!("{}; {help}", message.trim_start_matches("no token: ")))
    })
}

/// As it stands on the page: whatever server it was.
fn told(said: &str, server: &AuthorizationServer) -> String {
    let mut said = said.replace(&server.host(), "HOST").replace("HOST HOST", "HOST").replace('|', "\\|");
    // How a connection ends that the other side has no use for is a matter of chance.
    if let Some((before, after)) =
        said.split_once(CLOSED).and_then(|(before, after)| Some((before, after.split_once(';')?.1)))
    {
        said = format!("{before}{CLOSED}…;{after}");
    }
    said.trim_start_matches("HOST ").to_owned()
}

async fn outcomes(kinds: &'static [Kind]) -> Vec<Outcome> {
    let mut all = Vec::new();
    for kind in kinds {
        all.push(outcome(kind).await);
    }
    all
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/partners.md")).unwrap_or_default()
}

/// Holds the page against what was seen; what it lacks is told as it should stand there.
#[track_caller]
fn assert_page_tells(outcomes: &[Outcome]) {
    let page = page();
    let mut missing = String::new();
    for outcome in outcomes.iter().filter(|outcome| !page.contains(&format!("\n{}\n", outcome.row))) {
        writeln!(missing, "{}", outcome.row).unwrap();
    }
    let mut lines: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for outcome in outcomes {
        for (what, said, _) in outcome.said.iter().filter(|(what, said, _)| !is_told(&page, what, said, outcome.server))
        {
            lines.entry((what, said)).or_default().push(outcome.server);
        }
    }
    for ((what, said), servers) in lines {
        writeln!(missing, "### {what}\n| {said} | {} |", servers.join(", ")).unwrap();
    }
    assert!(missing.is_empty(), "docs/partners.md lacks, or says otherwise:\n{missing}");
}

fn is_told(page: &str, what: &str, said: &str, server: &str) -> bool {
    let section = page.split_once(&format!("\n### {what}\n")).map_or("", |(_, rest)| rest);
    section.split("\n#").next().unwrap_or_default().lines().any(|line| {
        let servers = line.strip_prefix(&format!("| {said} | "));
        servers.is_some_and(|servers| servers.trim_end_matches(" |").split(", ").any(|one| one == server))
    })
}

/// Of all that is wrong, whether what is said names it.
#[track_caller]
fn assert_true_causes_are_named(outcomes: &[Outcome]) {
    let all = || outcomes.iter().flat_map(|outcome| outcome.said.iter().map(|said| (outcome.server, said)));
    let untrue: Vec<_> = all()
        .filter(|(_, (_, said, named_by))| !named_by.iter().any(|words| said.contains(words)))
        .map(|(server, (what, said, _))| format!("{server}: {what}: {said}"))
        .collect();
    let tried = all().count();
    println!("{} of {tried} name the true cause", tried - untrue.len());
    assert!(tried > 15 * outcomes.len(), "only {tried} were tried");
    assert!(untrue.is_empty(), "{} of {tried} do not name the true cause: {untrue:#?}", untrue.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_says_of_authorization_servers_is_what_happens() {
    let outcomes = outcomes(&SERVERS).await;

    assert_true_causes_are_named(&outcomes);
    assert_page_tells(&outcomes);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "these servers take minutes to install: ./test field"]
async fn what_the_page_says_of_those_in_the_field_is_what_happens() {
    let outcomes = outcomes(&IN_THE_FIELD).await;

    assert_true_causes_are_named(&outcomes);
    assert_page_tells(&outcomes);
}

const CLOSED: &str = "closed the connection before it answered: ";
