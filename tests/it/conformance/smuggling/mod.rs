//! Requests in which two parsers may see different ones: each is refused, or goes on in one form that leaves no doubt.
//!
//! The oracle is what real services took for requests ([`Recorders`]): exactly those whose answers the app got from them, in
//! that order, with the bodies that are due; nothing of a body, and nothing behind what was the last. Each attempt is made in
//! one piece and in two, cut in several places, with another request behind it on the same connection.

mod attempts;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::lab::Lab;
use crate::lab::client::{Answer, Connection};
use crate::lab::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, fields, frame};
use crate::lab::raw_http2::Frames;
use crate::lab::recorders::Recorders;
use crate::lab::sidekey::Sidekey;
use attempts::{ATTEMPTS, Attempt, Due, Form, Next};

/// In how many places each attempt is cut for each service; `SIDEKEY_TEST_CUTS` may say more.
const CUTS: usize = 4;

#[tokio::test]
async fn what_two_parsers_may_read_differently_is_refused_or_has_one_form_for_every_service() {
    let lab = Lab::start().await;
    let recorders = Recorders::start(&lab).await;
    let sidekey = recorders.sidekey(&lab).await;
    let cuts = std::env::var("SIDEKEY_TEST_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(CUTS);

    let each =
        Recorders::NAMES.map(|service| Bout { lab: &lab, recorders: &recorders, sidekey: &sidekey, service, cuts });
    let [nginx, apache, node, h11, http2] = &each;
    let (a, b, c, d, e) = tokio::join!(nginx.fight(), apache.fight(), node.fight(), h11.fight(), http2.fight());

    let wrong: Vec<_> = [a, b, c, d, e].concat();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), ATTEMPTS.len());
}

/// All attempts at one service.
struct Bout<'a> {
    lab: &'a Lab,
    recorders: &'a Recorders,
    sidekey: &'a Sidekey,
    service: &'static str,
    cuts: usize,
}

impl Bout<'_> {
    /// What went wrong.
    async fn fight(&self) -> Vec<String> {
        let (mut wrong, mut seen, mut number) = (Vec::new(), 0, 0);
        // An upgrade is of HTTP/1.1 alone, and refused where that is not spoken; and nginx 1.22 ends a connection of HTTP/2 on
        // which a request has trailers.
        let not_for_http2 =
            ["line: an upgrade that its service does not make", "chunk: a trailer that nobody announced"];
        let apply = |attempt: &&Attempt| !self.speaks_http2() || !not_for_http2.contains(&attempt.what);
        for attempt in ATTEMPTS.iter().filter(apply) {
            let mut runs = Vec::new();
            let length = self.bytes(attempt, 0).len();
            // Other places for each service.
            let parts = self.cuts * Recorders::NAMES.len() + 1;
            let service = Recorders::NAMES.iter().position(|name| *name == self.service).unwrap_or_default();
            let places = (0..self.cuts).map(|cut| Some((cut * Recorders::NAMES.len() + service + 1) * length / parts));
            for cut in std::iter::once(None).chain(places) {
                number += 1;
                runs.push((number, cut, self.run(attempt, number, cut).await));
            }
            let fence = format!("/fence-{number}");
            self.sidekey.get(&format!("/{}{fence}", self.service)).await.status_of_service();
            let taken = self.recorders.taken(self.lab, self.service, &mut seen, &fence).await;
            let mut taken = by_number(&taken);
            for (number, cut, answers) in runs {
                let mut taken = taken.remove(&number).unwrap_or_default();
                taken.retain(|request| request["target"] != format!("/lead-{number}"));
                if let Err(difference) = self.judge(attempt, number, &answers, &taken) {
                    let texts: Vec<_> = answers.iter().map(Answer::text).collect();
                    let which = format!("{} {}, cut at {cut:?}", self.service, attempt.what);
                    wrong.push(format!("{which}: {difference} {texts:?} {taken:?}"));
                }
            }
            if taken.len() != 1 {
                wrong.push(format!("{} {}: nobody asked for {taken:?}", self.service, attempt.what));
            }
        }
        wrong
    }

    fn speaks_http2(&self) -> bool {
        self.service.ends_with("http2")
    }

    fn bytes(&self, attempt: &Attempt, number: usize) -> String {
        let sent = attempt.sent.replace("SMUGGLED", attempts::SMUGGLED);
        sent.replace("SERVICE", self.service).replace("NUMBER", &number.to_string())
    }

    /// Sends an attempt with another request behind it, and reads all that comes. Cut, its first piece comes with the end of a
    /// request whose answer shows that it was read, and the rest by itself.
    async fn run(&self, attempt: &Attempt, number: usize, cut: Option<usize>) -> Vec<Answer> {
        let all = self.bytes(attempt, number);
        let next = format!("GET /{}/next-{number} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.service);
        let all = [all.as_bytes(), next.as_bytes()].concat();
        let mut app = self.sidekey.connect().await;
        let (first, rest) = all.split_at(cut.unwrap_or(0));
        if cut.is_some() {
            let lead = format!("GET /{}/lead-{number} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.service);
            app.write([lead.as_bytes(), first].concat()).await;
            app.answer().await.status_of_service();
        }
        app.write(rest).await;
        app.end().await;
        read(&mut app).await
    }

    /// Compares what the app got with what the service took.
    fn judge(&self, attempt: &Attempt, number: usize, answers: &[Answer], taken: &[&Value]) -> Result<(), String> {
        let of_service: Vec<_> = answers.iter().filter_map(|answer| answer.field("x-seen")).collect();
        let targets: Vec<_> = taken.iter().filter_map(|request| request["target"].as_str()).collect();
        if of_service != targets {
            return Err(format!("{of_service:?} was answered, and {targets:?} taken"));
        }
        if let Some(request) = taken.iter().find(|request| !self.is_normal(request)) {
            return Err(format!("{request} is in no normal form"));
        }
        let next = format!("/next-{number}");
        match attempt.due {
            Due::Refused(code, detail) => match answers {
                [answer] => told(answer, code, detail),
                _ => Err("one answer is due, and then the end".to_owned()),
            },
            Due::Denied(code, detail) => match answers {
                [answer, one] if one.field("x-seen").is_some_and(|target| target == next) => told(answer, code, detail),
                _ => Err("one answer is due, and then that to the next request".to_owned()),
            },
            // A service may have answered before it saw the fault.
            Due::BrokenOff(detail) => match answers {
                [] => Ok(()),
                [answer] if answer.field("proxy-status").is_some() => told(answer, "bad_request", detail),
                _ => Err("it was not broken off".to_owned()),
            },
            Due::Arrives { body, form, next: is_next_due } => {
                let [first, rest @ ..] = answers else { return Err("no answer".to_owned()) };
                if first.status != 405 && first.text() != body {
                    return Err("another body".to_owned());
                }
                let request = taken.first().ok_or("nothing was taken")?;
                // A stream of HTTP/2 has an end of its own, and so needs no other way to say where a body ends.
                let form = if self.speaks_http2() && form == Form::Chunked { Form::NoBody } else { form };
                if form_of(request) != form {
                    return Err(format!("{:?} and not {form:?}", form_of(request)));
                }
                match (is_next_due, rest) {
                    (Next::Served, [one]) if one.field("x-seen").is_some_and(|target| target == next) => Ok(()),
                    (Next::Nobodys, []) => Ok(()),
                    _ => Err(format!("{} answers followed, where it is {is_next_due:?}", rest.len())),
                }
            }
        }
    }

    /// One `Host`, one framing, and none that was hidden.
    fn is_normal(&self, request: &Value) -> bool {
        let text = |name: &str| request[name].as_str().unwrap_or_default().replace('-', "");
        let (length, encoding) = (text("length"), text("encoding"));
        let is_framed_once = length.is_empty() || encoding.is_empty();
        let no_trailers = request["trailers"].as_array().is_none_or(Vec::is_empty);
        let is_hidden = request["target"].as_str().is_some_and(|target| target.contains("smuggled"));
        let host = request["host"].as_str() == Some(&self.recorders.host(self.service));
        is_framed_once && ["", "chunked"].contains(&&*encoding) && no_trailers && !is_hidden && host
    }
}

fn form_of(request: &Value) -> Form {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    match (text("length"), text("encoding")) {
        ("" | "-", "" | "-") => Form::NoBody,
        (_, "chunked") => Form::Chunked,
        (length, _) => Form::Length(length.parse().unwrap()),
    }
}

/// Whether an answer is ours, and its detail says this.
fn told(answer: &Answer, code: &str, detail: &str) -> Result<(), String> {
    if answer.field("proxy-status").is_none() || answer.json()["type"] != format!("urn:sidekey:error:{code}") {
        return Err(format!("it was not {code}"));
    }
    let told = answer.problem(code);
    if detail.split('|').any(|detail| told.contains(detail)) {
        Ok(())
    } else {
        Err(format!("{told:?} does not say {detail:?}"))
    }
}

/// Each ends in a number of its own; the rest is under 0.
fn by_number(taken: &[Value]) -> BTreeMap<usize, Vec<&Value>> {
    let mut numbered = BTreeMap::<_, Vec<_>>::new();
    for request in taken {
        let target = request["target"].as_str().unwrap_or_default();
        let number =
            target.rsplit_once('-').filter(|(name, _)| *name != "/fence").and_then(|(_, number)| number.parse().ok());
        numbered.entry(number.unwrap_or(0)).or_default().push(request);
    }
    numbered
}

/// All answers until the connection ends.
async fn read(app: &mut Connection) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Ok(answer) = app.next().await {
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn no_length_and_no_chunk_of_http_2_is_another_one_over_http_1() {
    let lab = Lab::start().await;
    let recorders = Recorders::start(&lab).await;
    let sidekey = recorders.sidekey(&lab).await;
    for service in Recorders::NAMES {
        let (mut seen, smuggled) = (0, attempts::SMUGGLED.replace("SERVICE", service).replace("NUMBER", "1"));
        let (hidden, chunked) = (smuggled.len().to_string(), format!("0\r\n\r\n{smuggled}"));
        for (number, (what, length, body, is_whole)) in [
            ("no length, and what looks like chunks", None, &chunked, true),
            ("the length", Some(&*hidden), &smuggled, true),
            ("a length of nothing", Some("0"), &smuggled, false),
            ("a shorter length", Some("4"), &smuggled, false),
            ("a longer length", Some("4000"), &smuggled, false),
        ]
        .into_iter()
        .enumerate()
        {
            let path = format!("/{service}/x-{number}");
            let mut block =
                vec![(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", &*path)];
            block.extend(length.map(|length| ("content-length", length)));
            let mut frames = Frames::open(&sidekey.address).await;
            frames.write(&frame(HEADERS, END_HEADERS, 1, &fields(&block))).await;
            frames.write(&frame(DATA, END_STREAM, 1, body.as_bytes())).await;

            let outcome = super::http2::outcome(&mut frames, 1).await;

            let served = super::http2::Outcome::Served(body.clone().into());
            assert_eq!(outcome == served, is_whole, "{service}, {what}: {outcome:?}");
            let fence = format!("/fence-{number}");
            sidekey.get(&format!("/{service}{fence}")).await.status_of_service();
            let taken = recorders.taken(&lab, service, &mut seen, &fence).await;
            let whole = if is_whole { vec![format!("/x-{number}"), fence] } else { vec![fence] };
            let targets: Vec<_> = taken.iter().map(|request| request["target"].as_str().unwrap_or("a fault")).collect();
            assert_eq!(targets, whole, "{service}, {what}: {taken:?}");
        }
    }
}
