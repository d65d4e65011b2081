//! One connection to the FCM simulator: which path is asked, who asks, and the answer.
//!
//! Order: path, method, access token, project, quota, JSON, schema, FCM's own rules, registration. Google documents none; a bare
//! 404 for a path that does not exist and 401 before the body is read were seen.
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::answer::{self, Refused};
use super::check::{self, Target};
use super::inbox::{Message, RegistrationState};
use super::schema::{self, Violation, get};
use super::{Fcm, now_us};
use crate::sandbox::config::Project;
use crate::sandbox::exchange::{Answer, Field, Request, Service};
use crate::sandbox::fault::{Provider, Refusal};

/// Longest request body, in bytes: far above what a message of 4,096 bytes can grow to in JSON.
const MAX_BODY: usize = 64 * 1024;

/// One connection.
pub(crate) struct FcmService {
    fcm: Arc<Fcm>,
    wedged: bool,
}

impl FcmService {
    pub(crate) fn new(fcm: Arc<Fcm>) -> Self {
        Self { fcm, wedged: false }
    }

    fn send(&self, request: &Request<'_>) -> Result<String, Refused> {
        let path = path(request);
        let project = path.strip_prefix("/v1/projects/").and_then(|rest| rest.strip_suffix("/messages:send"));
        let project = project.filter(|project| !project.contains('/')).ok_or(Refused::NotFound)?;
        if text(request, Field::Method) != "POST" {
            return Err(Refused::NotFound);
        }
        let bearer = text(request, Field::Authorization).split_once(' ');
        let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
        let account = token.and_then(|token| self.fcm.tokens.account(token)).filter(|_| !self.wedged);
        let account = account.ok_or(Refused::Unauthenticated)?;
        let named = |own: &&Project| own.project_id == project || own.project_number.as_deref() == Some(project);
        match self.fcm.config.projects.iter().find(named) {
            Some(own) if own.project_id == account.project_id => {}
            Some(_) => return Err(Refused::PermissionDenied { project: project.to_owned() }),
            // Without an FcmError: no reason to forget a token.
            None => return Err(Refused::Code("NOT_FOUND")),
        }
        if !self.fcm.within_quota(&account.project_id) {
            return Err(Refused::Quota { subject: format!("project:{}", account.project_id) });
        }
        self.message(&account.project_id, request.body)
    }

    fn message(&self, project: &str, body: &[u8]) -> Result<String, Refused> {
        if body.len() > MAX_BODY {
            return Err(Refused::NotJson("Request payload size exceeds the limit".to_owned()));
        }
        let mut body: Value = serde_json::from_slice(body).map_err(|error| Refused::NotJson(error.to_string()))?;
        let violations = schema::violations(&body);
        if !violations.is_empty() {
            return Err(Refused::Schema(violations));
        }
        let only_validate = get(&body, "validateOnly").and_then(Value::as_bool) == Some(true);
        let message = match body.get_mut("message") {
            Some(message @ Value::Object(_)) => message.take(),
            _ => {
                let description = "Message is not set.".to_owned();
                return Err(Refused::Field(Violation { field: "message".to_owned(), description }));
            }
        };
        let token = match check::check(&message)? {
            Target::Device { field, token } => {
                self.admit(field, token)?;
                Some(token.to_owned())
            }
            Target::Topics(_) => None,
        };
        if only_validate {
            return Ok(format!("projects/{project}/messages/fake_message_id"));
        }
        let now_us = now_us();
        let name = format!("projects/{project}/messages/0:{now_us}%{}", uuid::Uuid::new_v4().simple());
        self.fcm.inbox.accept(token.as_deref(), || {
            Message::read(token.as_deref().unwrap_or_default(), project, name.clone(), now_us / 1_000, message)
        });
        Ok(name)
    }

    fn admit(&self, field: &'static str, token: &str) -> Result<(), Refused> {
        match self.fcm.inbox.believes(token) {
            RegistrationState::Live => Ok(()),
            RegistrationState::Unregistered => Err(Refused::Code("UNREGISTERED")),
            RegistrationState::Malformed => {
                let description = "The registration token is not a valid FCM registration token".to_owned();
                Err(Refused::Field(Violation { field: field.to_owned(), description }))
            }
            RegistrationState::OtherSender => Err(Refused::Code("SENDER_ID_MISMATCH")),
            RegistrationState::Throttled => Err(Refused::Quota { subject: "device".to_owned() }),
            RegistrationState::ThirdPartyAuth => Err(Refused::Code("THIRD_PARTY_AUTH_ERROR")),
        }
    }

    fn exchange(&self, request: &Request<'_>, answer: &mut Answer) {
        if text(request, Field::Method) != "POST" {
            self.fcm.count_refusal(404, answer::refused(answer, &Refused::NotFound));
            return;
        }
        let (status, body) = self.fcm.tokens.exchange(request.body, now_us() / 1_000_000);
        answer::write(answer, status, &body);
        if let Some(error) = body["error"].as_str() {
            self.fcm.count_refusal(status, error.to_owned());
        }
    }
}

fn is_token_endpoint(request: &Request<'_>) -> bool {
    path(request) == "/token"
}

/// The path without a query: Google's libraries add parameters for the form of the answer, which change nothing here.
fn path<'a>(request: &Request<'a>) -> &'a str {
    let path = text(request, Field::Path);
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn text<'a>(request: &Request<'a>, field: Field) -> &'a str {
    request.head.get(field).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

impl Service for FcmService {
    fn body_limit(&self) -> usize {
        MAX_BODY
    }

    fn first_stream_limit(&self) -> u32 {
        self.fcm.stream_limit.load(Ordering::Relaxed)
    }

    fn target<'a>(&self, request: &Request<'a>) -> (Provider, Option<Cow<'a, str>>) {
        if is_token_endpoint(request) {
            return (Provider::Oauth, None);
        }
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        let message = body.get("message").cloned().unwrap_or_default();
        let token = get(&message, "token").or_else(|| get(&message, "fid")).and_then(Value::as_str);
        (Provider::Fcm, token.map(|token| token.to_owned().into()))
    }

    fn answer(&mut self, request: &Request<'_>, answer: &mut Answer) {
        if is_token_endpoint(request) {
            return self.exchange(request, answer);
        }
        match self.send(request) {
            Ok(name) => answer::accepted(answer, &name),
            Err(refused) => {
                let word = answer::refused(answer, &refused);
                self.fcm.count_refusal(answer.status, word);
            }
        }
    }

    fn refuse(&mut self, request: &Request<'_>, refusal: &Refusal, answer: &mut Answer) {
        if is_token_endpoint(request) {
            let body = serde_json::json!({ "error": refusal.reason, "error_description": "Bad Request" });
            answer::write(answer, refusal.status.unwrap_or(400), &body);
            if let Some(retry_after) = refusal.retry_after {
                answer.headers.push(("retry-after", retry_after.value()));
            }
        } else {
            answer::coded(answer, &refusal.reason, refusal.status, refusal.retry_after);
        }
        self.fcm.count_refusal(answer.status, refusal.reason.clone());
    }

    fn wedge(&mut self) {
        self.wedged = true;
    }

    /// The connection's own limit is the session's; nothing here returns to another one.
    fn set_stream_limit(&mut self, _limit: u32) {}
}
