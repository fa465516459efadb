//! The recipes of the documentation, each as it stands there, against a real part that wants what the partner documents.
//!
//! Only addresses are replaced, and each replacement must find something to replace: a recipe that is changed is tested
//! as it is then. The provider refuses in the partner's own words whatever is not as documented (`tests/idp/partners.js`).

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;

use crate::lab::Lab;
use crate::lab::client::Request;
use crate::lab::idp::Idp;
use crate::lab::nginx::Seen;
use crate::lab::sidekey::Sidekey;

/// A recipe, made to fit the lab.
struct Recipe {
    heading: &'static str,
    config: String,
}

impl Recipe {
    #[track_caller]
    fn named(heading: &'static str) -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/authentication.md");
        let text = std::fs::read_to_string(page).unwrap();
        let section =
            text.split_once(&format!("\n### {heading}\n")).unwrap_or_else(|| panic!("no recipe for {heading}")).1;
        let block = section.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
        Self { heading, config: block.to_owned() }
    }

    /// What stands for `address` in the lab.
    #[track_caller]
    fn at(mut self, address: &str, replacement: &str) -> Self {
        assert!(self.config.contains(address), "the recipe for {} does not name {address}", self.heading);
        self.config = self.config.replace(address, replacement);
        self
    }

    async fn run(&self, lab: &Lab, variables: &[(&str, &str)]) -> Sidekey {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        lab.sidekey_with(&self.config, &[], &variables).await
    }

    /// What the service sees of a request to this path.
    async fn carry(&self, lab: &Lab, variables: &[(&str, &str)], path: &str) -> Seen {
        self.run(lab, variables).await.get(path).await.at_service()
    }
}

/// A service that knows nothing of TLS.
const PLAIN: &str = "http://$SERVICE_PLAIN";

/// The provider's token of one recipe: the client that it was given to, and the form that asked for it.
async fn granted(idp: &Idp, seen: &Seen) -> serde_json::Value {
    let requests = idp.token_requests().await;
    let request = Idp::only(&requests);
    assert_eq!(request["status"], 200, "{request:#}");
    assert!(seen.authorization.starts_with("Bearer "), "{seen:?}");
    request.clone()
}

#[tokio::test]
async fn the_recipe_for_entra_id_with_a_secret_gets_a_token() {
    let lab = Lab::start().await;
    let client = "6731de76-14a6-49ae-97bc-6eba6914391e";
    let registered =
        json!({ "client_id": client, "client_secret": "s3cr~t", "token_endpoint_auth_method": "client_secret_post" });
    let idp = lab.idp_with(json!({ "partner": "entra", "clients": [registered] })).await;
    let recipe = Recipe::named("Microsoft Entra ID")
        .at("https://graph.microsoft.com/v1.0", PLAIN)
        .at(ENTRA, &idp.url("/contoso/oauth2/v2.0/token"));

    let seen = recipe.carry(&lab, &[("ENTRA_SECRET", "s3cr~t")], "/graph/users").await;

    let request = granted(&idp, &seen).await;
    assert_eq!(request["fields"]["client_id"], client);
    assert_eq!(request["fields"]["scope"], "https://graph.microsoft.com/.default");
}

#[tokio::test]
async fn the_recipe_for_entra_id_with_a_certificate_gets_a_token() {
    let lab = Lab::start().await;
    let pair = lab.ca.client_with_rsa("entra");
    lab.write("entra.pem", &pair.chain);
    lab.write("entra.key", &pair.key);
    let client = "6731de76-14a6-49ae-97bc-6eba6914391e";
    let registered = json!({ "client_id": client, "token_endpoint_auth_method": "private_key_jwt" });
    let keys = json!({ client: { "keys": [pair.jwk()] } });
    let idp = lab.idp_with(json!({ "partner": "entra", "clients": [registered], "jwks": keys })).await;
    let recipe = Recipe::named("Microsoft Entra ID with a certificate")
        .at("https://graph.microsoft.com/v1.0", PLAIN)
        .at(ENTRA, &idp.url("/contoso/oauth2/v2.0/token"));

    let seen = recipe.carry(&lab, &[], "/graph/users").await;

    let request = granted(&idp, &seen).await;
    assert_eq!(request["assertion"]["payload"]["iss"], client);
}

#[tokio::test]
async fn the_recipe_for_okta_gets_a_token() {
    let lab = Lab::start().await;
    let key = lab.key("my-key", "RS256");
    lab.write("okta.pem", &key.pem);
    let registered = json!({
        "client_id": "0oa1example", "token_endpoint_auth_method": "private_key_jwt", "scope": "okta.users.read okta.groups.read",
    });
    let idp = lab
        .idp_with(json!({
            "partner": "okta-org", "clients": [registered], "jwks": { "0oa1example": key.set() },
            "scopes": "okta.users.read okta.groups.read",
        }))
        .await;
    let recipe = Recipe::named("Okta")
        .at("https://example.okta.com/api/v1", PLAIN)
        .at("https://example.okta.com/oauth2/v1/token", &idp.url("/oauth2/v1/token"));

    let seen = recipe.carry(&lab, &[], "/okta/users").await;

    let request = granted(&idp, &seen).await;
    assert_eq!(request["fields"]["scope"], "okta.users.read okta.groups.read");
    assert_eq!(request["assertion"]["header"]["kid"], "my-key");
}

#[tokio::test]
async fn the_recipe_for_auth0_gets_a_token() {
    let lab = Lab::start().await;
    let registered = json!({
        "client_id": "kHxExample", "client_secret": "auth0-secret", "token_endpoint_auth_method": "client_secret_post",
    });
    let idp = lab.idp_with(json!({ "partner": "auth0", "clients": [registered] })).await;
    let recipe = Recipe::named("Auth0")
        .at("url: https://orders.example.com", &format!("url: {PLAIN}"))
        .at("https://example.eu.auth0.com/oauth/token", &idp.url("/oauth/token"));

    let seen = recipe.carry(&lab, &[("AUTH0_SECRET", "auth0-secret")], "/orders/1").await;

    let request = granted(&idp, &seen).await;
    assert_eq!(request["fields"]["audience"], "https://orders.example.com");
}

#[tokio::test]
async fn the_recipe_for_keycloak_finds_its_endpoint_and_gets_a_token() {
    let lab = Lab::start().await;
    let registered = json!({
        "client_id": "billing-client", "client_secret": "k3y", "token_endpoint_auth_method": "client_secret_basic",
    });
    let idp = lab.idp_with(json!({ "partner": "keycloak", "clients": [registered] })).await;
    let recipe = Recipe::named("Keycloak")
        .at("https://billing.example.com", PLAIN)
        .at("https://sso.example.com/realms/partners", &idp.url("/realms/x"));

    let seen = recipe.carry(&lab, &[("KEYCLOAK_SECRET", "k3y")], "/billing/invoices").await;

    let request = granted(&idp, &seen).await;
    assert_eq!(request["path"], "/realms/x/protocol/openid-connect/token");
}

#[tokio::test]
async fn the_recipe_for_salesforce_gets_a_token() {
    let lab = Lab::start().await;
    let key = lab.key("salesforce", "RS256");
    lab.write("salesforce.key", &key.pem);
    let idp = lab.idp_with(json!({ "partner": "salesforce", "issuers": { "3MVG9example": key.set() } })).await;
    let recipe = Recipe::named("Salesforce")
        .at("https://example.my.salesforce.com/services/data", PLAIN)
        .at("https://login.salesforce.com/services/oauth2/token", &idp.url("/services/oauth2/token"));

    let sidekey = recipe.run(&lab, &[]).await;
    let seen = sidekey.get("/salesforce/v60.0/limits").await.at_service();

    let request = granted(&idp, &seen).await;
    assert_eq!(request["grant"]["payload"]["sub"], "integration@example.com");
    assert_eq!(request["grant"]["payload"]["aud"], "https://login.salesforce.com");
    // Its answer does not say how long the token lives: `default_lifetime` does.
    let token = sidekey.until_token("salesforce", "valid").await;
    assert!(token["expires_at"].is_string(), "{token}");
}

#[tokio::test]
async fn the_recipe_for_google_service_accounts_gets_a_token() {
    let lab = Lab::start().await;
    let key = lab.key("2f0c1b9e", "RS256");
    lab.write("google.pem", &key.pem);
    let account = "sidekey@example.iam.gserviceaccount.com";
    let idp = lab.idp_with(json!({
        "partner": "google", "issuers": { account: key.set() }, "scopes": "https://www.googleapis.com/auth/devstorage.read_only",
    })).await;
    let recipe = Recipe::named("Google service accounts")
        .at("https://storage.googleapis.com", PLAIN)
        .at("https://oauth2.googleapis.com/token", &idp.url("/token"));

    let seen = recipe.carry(&lab, &[], "/storage/b/bucket").await;

    let request = granted(&idp, &seen).await;
    assert_eq!(request["grant"]["payload"]["scope"], "https://www.googleapis.com/auth/devstorage.read_only");
    assert_eq!(request["grant"]["payload"]["aud"], idp.url("/token"));
}

#[tokio::test]
async fn the_recipe_for_docusign_gets_a_token() {
    let lab = Lab::start().await;
    let key = lab.key("docusign", "RS256");
    lab.write("docusign.pem", &key.pem);
    let integration_key = "5c2b8d7e-5f1c-4f0e-9a41-2d1a0b3c4d5e";
    let idp = lab.idp_with(json!({ "partner": "docusign", "issuers": { integration_key: key.set() } })).await;
    let recipe = Recipe::named("DocuSign")
        .at("https://demo.docusign.net/restapi/v2.1", PLAIN)
        .at("https://account-d.docusign.com/oauth/token", &idp.url("/oauth/token"));

    let seen = recipe.carry(&lab, &[], "/docusign/accounts").await;

    let request = granted(&idp, &seen).await;
    assert_eq!(request["grant"]["payload"]["aud"], "account-d.docusign.com");
    assert_eq!(request["grant"]["payload"]["scope"], "signature impersonation");
}

#[tokio::test]
async fn the_recipe_for_an_open_banking_bank_gets_a_token_bound_to_its_certificate() {
    let lab = Lab::start().await;
    lab.write("bank.pem", &lab.partner.chain);
    lab.write("bank.key", &lab.partner.key);
    let idp = lab.idp_with(json!({ "partner": "ping", "scopes": "accounts" })).await;
    let recipe = Recipe::named("An open-banking bank")
        .at("https://api.bank.example", "$SERVICE")
        .at("https://auth.bank.example", &idp.url(""));

    let seen = recipe.carry(&lab, &[], "/bank/accounts").await;

    granted(&idp, &seen).await;
    assert_eq!(seen.subject, "CN=partner");
    let token = idp.introspect(seen.authorization.trim_start_matches("Bearer ")).await;
    assert!(token["cnf"]["x5t#S256"].is_string(), "{token}");
}

#[tokio::test]
async fn the_recipe_for_a_bucket_of_s3_is_signed_as_the_cloud_wants_it() {
    let lab = Lab::start().await;
    let cloud = lab.cloud().await;
    let recipe = Recipe::named("A bucket of S3")
        .at("https://reports.s3.eu-central-1.amazonaws.com", &format!("http://localhost:{}/lab", cloud.port))
        .at("AKIDEXAMPLE", &cloud.access_key_id);
    let sidekey = recipe.run(&lab, &[("AWS_SECRET", &cloud.secret_access_key)]).await;

    let put = sidekey.send(Request::post("/reports/2026/q%204.csv", "a,b").method("PUT")).await;
    assert_eq!(put.status, 200, "{put:?}");
    let got = sidekey.get("/reports/2026/q%204.csv").await;

    assert_eq!((got.status, got.text().as_str()), (200, "a,b"));
}

#[track_caller]
fn assert_basic(seen: &Seen, user: &str, password: &str) {
    assert_eq!(seen.authorization, format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))));
}

#[tokio::test]
async fn the_recipe_for_twilio_sends_account_and_token() {
    let lab = Lab::start().await;
    let recipe = Recipe::named("Twilio").at("https://api.twilio.com", PLAIN);

    let seen = recipe.carry(&lab, &[("TWILIO_TOKEN", "tw-t0ken")], "/twilio/Accounts.json").await;

    assert_eq!(seen.target, "/2010-04-01/Accounts.json");
    assert_basic(&seen, "AC00000000000000000000000000000000", "tw-t0ken");
}

#[tokio::test]
async fn the_recipe_for_plaid_sends_id_and_secret_in_fields_of_their_own() {
    let lab = Lab::start().await;
    let recipe = Recipe::named("Plaid").at("https://production.plaid.com", PLAIN);

    let seen = recipe.carry(&lab, &[("PLAID_SECRET", "pl-s3cret")], "/plaid/accounts/get").await;

    assert_eq!(seen.field("plaid-client-id").as_deref(), Some("5f0e1d2c3b4a"));
    assert_eq!(seen.field("plaid-secret").as_deref(), Some("pl-s3cret"));
}

#[tokio::test]
async fn the_recipe_for_google_places_sends_the_key_in_the_query() {
    let lab = Lab::start().await;
    let recipe = Recipe::named("Google Places").at("https://maps.googleapis.com", PLAIN);

    let seen = recipe.carry(&lab, &[("PLACES_KEY", "pk+1")], "/places/details/json?place_id=x&key=of-the-app").await;

    assert_eq!(seen.target, "/maps/api/place/details/json?place_id=x&key=pk%2B1");
}

#[tokio::test]
async fn the_recipe_for_canada_post_sends_both_parts_of_the_key() {
    let lab = Lab::start().await;
    let recipe = Recipe::named("Canada Post").at("https://soa-gw.canadapost.ca", PLAIN);

    let seen = recipe.carry(&lab, &[("CANADA_POST_PASSWORD", "cp-s3cret")], "/canada-post/rs/ship/price").await;

    assert_basic(&seen, "6e93d53968881714", "cp-s3cret");
}

/// The token endpoint of the recipes for Entra ID.
const ENTRA: &str = "https://login.microsoftonline.com/3f2504e0-4f89-11d3-9a0c-0305e82c3301/oauth2/v2.0/token";
