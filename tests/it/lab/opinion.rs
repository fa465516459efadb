//! Second opinions by libraries that others wrote: on what Sidekey signs by joserfc and botocore, on what it sends by readers
//! of queries.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::bed;
use super::program::output_with;

/// What is in a JWT, `header` and `claims`, if this key signed it: a JWK, a PEM as text, or `{"secret": …}`.
pub fn jwt(token: &str, key: &Value, algorithm: &str) -> Result<Value, String> {
    ask("verify_jwt.py", &json!({ "token": token, "key": key, "algorithm": algorithm }))
}

/// What is in a DPoP proof, `header`, `claims` and the key's thumbprint `jkt`, if all of it holds. The question has
/// `proof`, `method`, `url` and, where they have to be in it, `access_token` and `nonce`.
pub fn dpop(question: &Value) -> Result<Value, String> {
    ask("verify_dpop.py", question)
}

/// The fields of a request that botocore has signed; `sign_aws.py` tells what the request needs.
#[track_caller]
pub fn sigv4(request: &Value) -> Value {
    ask("sign_aws.py", request).unwrap_or_else(|error| panic!("{error}"))
}

/// A JWT that Sidekey has no part in; the key is a PEM as text or `{"secret": …}`.
#[track_caller]
pub fn sign(header: &Value, claims: &Value, key: &Value) -> String {
    let question = json!({ "header": header, "claims": claims, "key": key });
    let answer = ask("sign_jwt.py", &question).unwrap_or_else(|error| panic!("{error}"));
    answer["token"].as_str().unwrap().to_owned()
}

/// What each of many readers of queries finds under a name, query by query.
#[track_caller]
pub fn queries(queries: &[String], name: &str) -> Vec<BTreeMap<String, Vec<String>>> {
    let question = json!({ "queries": queries, "name": name });
    let on_python = ask("read_query.py", &question).unwrap_or_else(|error| panic!("{error}"));
    let on_node = ask_program(bed::node(), "read_query.js", &question).unwrap_or_else(|error| panic!("{error}"));
    let mut found: Vec<BTreeMap<String, Vec<String>>> = serde_json::from_value(on_python).unwrap();
    let more: Vec<BTreeMap<String, Vec<String>>> = serde_json::from_value(on_node).unwrap();
    assert_eq!((found.len(), more.len()), (queries.len(), queries.len()));
    found.iter_mut().zip(more).for_each(|(found, more)| found.extend(more));
    found
}

fn ask(script: &str, question: &Value) -> Result<Value, String> {
    ask_program(bed::python(), script, question)
}

fn ask_program(mut program: Command, script: &str, question: &Value) -> Result<Value, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client").join(script);
    let output = output_with(program.arg(script).stdin(Stdio::piped()), &question.to_string());
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}
