//! The authorization endpoint (RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1).
//!
//! The persona that `login_hint` names is signed in at once, so that curl can follow the flow; without one a page offers all of them.
//! Where the client or its redirect is unknown nothing is redirected, since that would hand codes or errors to strangers; every other
//! mistake goes back to the client with its `state`.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::grant::{Grant, is_base64url};
use super::{Issuer, times};
use crate::sandbox::form;

/// What becomes of the browser.
pub(super) enum Destination {
    /// It goes here.
    Redirect(String),
    /// It shows this page.
    Page(u16, String),
}

/// What a request asks for.
struct Asked<'a> {
    client_id: &'a str,
    redirect_uri: &'a str,
    fields: &'a BTreeMap<String, String>,
}

impl Asked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Back to the client, with what came of it.
    fn back(&self, issuer: &str, with: &[(&str, &str)]) -> Destination {
        let mut uri = self.redirect_uri.to_owned();
        let state = self.get("state").map(|state| ("state", state));
        // RFC 9207: whoever talks to several issuers sees who answered.
        for (name, value) in with.iter().copied().chain(state).chain([("iss", issuer)]) {
            uri.push(if uri.contains('?') { '&' } else { '?' });
            uri.push_str(name);
            uri.push('=');
            uri.push_str(&form::escape(value));
        }
        Destination::Redirect(uri)
    }
}

impl Issuer {
    /// Answers one authorization request.
    pub(super) fn authorize(&self, query: &str) -> Destination {
        let mut fields = BTreeMap::new();
        let mut repeated = false;
        for (name, value) in form::fields(query) {
            repeated |= fields.insert(name, value).is_some();
        }
        let get = |name: &str| fields.get(name).map_or("", String::as_str);
        let asked = Asked { client_id: get("client_id"), redirect_uri: get("redirect_uri"), fields: &fields };
        let known = self.state().clients.get(asked.client_id).cloned();
        let Some(client) = known else {
            return self.stop("invalid_client", "This client_id is not registered here.");
        };
        if repeated {
            return self.stop("invalid_request", "A parameter came more than once.");
        }
        if !client.redirect_uris.iter().any(|uri| uri == asked.redirect_uri) {
            return self.stop("invalid_request", "This redirect_uri is not registered for the client, byte for byte.");
        }
        match self.admit(&asked) {
            Ok(destination) => destination,
            Err((error, description)) => {
                self.count_refusal(302, error);
                asked.back(&self.url, &[("error", error), ("error_description", description)])
            }
        }
    }

    fn stop(&self, error: &str, sentence: &str) -> Destination {
        self.count_refusal(400, error);
        Destination::Page(400, page("This sign-in cannot go on", &format!("<p>{sentence}</p>")))
    }

    fn admit(&self, asked: &Asked<'_>) -> Result<Destination, (&'static str, &'static str)> {
        match asked.get("response_type") {
            Some("code") => {}
            None => return Err(("invalid_request", "response_type is missing")),
            Some(_) => return Err(("unsupported_response_type", "response_type must be code")),
        }
        if asked.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(("invalid_request", "response_mode must be query"));
        }
        if asked.get("request").is_some() || asked.get("request_uri").is_some() {
            return Err(("request_not_supported", "request objects are not supported"));
        }
        let challenge = asked.get("code_challenge").ok_or(("invalid_request", "code_challenge is missing"))?;
        if asked.get("code_challenge_method") != Some("S256") {
            return Err(("invalid_request", "code_challenge_method must be S256"));
        }
        if challenge.len() != 43 || !is_base64url(challenge) {
            return Err(("invalid_request", "code_challenge must be a SHA-256 in base64url"));
        }
        let scope = asked.get("scope").unwrap_or_default();
        if !scope.split(' ').any(|scope| scope == "openid") {
            return Err(("invalid_scope", "scope must contain openid"));
        }
        let Some(name) = asked.get("login_hint") else {
            return match asked.get("prompt") {
                Some("none") => Err(("login_required", "nobody is signed in; name a persona in login_hint")),
                _ => Ok(Destination::Page(200, self.choice(asked))),
            };
        };
        let mut state = self.state();
        let persona = state.personas.get(name).cloned();
        let persona = persona.ok_or(("access_denied", "there is no persona of this login_hint"))?;
        let grant = Grant {
            client_id: asked.client_id.to_owned(),
            redirect_uri: asked.redirect_uri.to_owned(),
            challenge: challenge.to_owned(),
            scope: scope.to_owned(),
            nonce: asked.get("nonce").map(str::to_owned),
            auth_s: auth_s(&persona, asked.get("max_age")),
            persona,
            until: Instant::now() + Duration::from_secs(self.config.code_lifetime_s),
        };
        let code = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        state.remember(code.clone(), grant);
        drop(state);
        Ok(asked.back(&self.url, &[("code", &code)]))
    }

    /// A page with a link for each persona.
    fn choice(&self, asked: &Asked<'_>) -> String {
        let mut query = String::new();
        for (name, value) in asked.fields {
            // Writing to a string cannot fail.
            write!(query, "{}={}&", form::escape(name), form::escape(value)).ok();
        }
        let mut list = String::from("<ul>");
        for persona in self.state().personas.values() {
            let workspaces = persona.workspaces.iter().map(|(workspace, role)| format!("{role} of {workspace}"));
            let mut roles: Vec<_> = workspaces.collect();
            roles.extend(persona.operator.then(|| "operator".to_owned()));
            let (name, user, roles) = (html(&persona.name), html(&persona.user), html(&roles.join(", ")));
            let link = format!("authorize?{query}login_hint={}", form::escape(&persona.name));
            write!(list, "<li><a href=\"{}\">{name}</a>: {user}, {roles}</li>", html(&link)).ok();
        }
        page("Who are you?", &format!("{list}</ul>"))
    }
}

/// When the person signed in: now, if the client wants it more recent than it is.
fn auth_s(persona: &super::Persona, max_age: Option<&str>) -> i64 {
    let times = times(persona, 0);
    let max_age: Option<u64> = max_age.and_then(|seconds| seconds.parse().ok());
    if max_age.is_some_and(|max_age| persona.auth_age_s > max_age) { times.now_s } else { times.auth_s }
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1>{body}\
         <p>This is the issuer of Watchbell's sandbox. Its people are invented.</p></html>\n"
    )
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
