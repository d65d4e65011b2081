//! Events as JSON, in protobuf's JSON mapping: `lowerCamelCase` (the names of the .proto file are read too), times in RFC 3339, enums
//! by name or number.
//!
//! It deliberately refuses names that it does not know: a misspelt field would silently be an empty one.
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::template::{Stamped, Template};
use crate::event::wire::{self, event::Body};
use crate::event::{Headers, NotificationType};

/// What is wrong with the text, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JsonError {
    line: usize,
    why: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; nothing was written", self.line, self.why)
    }
}

/// `watchbell.v1.Event`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Event {
    #[serde(alias = "event_id", skip_serializing_if = "String::is_empty")]
    event_id: String,
    #[serde(alias = "workspace_id")]
    workspace_id: String,
    recipients: Vec<String>,
    #[serde(alias = "occurred_at", skip_serializing_if = "Option::is_none")]
    occurred_at: Option<String>,
    #[serde(alias = "expires_at", skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(alias = "identity_verification_requested", skip_serializing_if = "Option::is_none")]
    identity_verification_requested: Option<IdentityVerificationRequested>,
    #[serde(alias = "trusted_device_requested", skip_serializing_if = "Option::is_none")]
    trusted_device_requested: Option<TrustedDeviceRequested>,
    #[serde(alias = "account_shared", skip_serializing_if = "Option::is_none")]
    account_shared: Option<AccountShared>,
    #[serde(alias = "otp_received", skip_serializing_if = "Option::is_none")]
    otp_received: Option<OtpReceived>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<Cancel>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct IdentityVerificationRequested {
    application: String,
    reason: String,
    #[serde(alias = "ip_address")]
    ip_address: String,
    location: String,
    device: String,
    #[serde(alias = "match_number", skip_serializing_if = "Option::is_none")]
    match_number: Option<String>,
    source: String,
    #[serde(alias = "new_location")]
    new_location: bool,
    #[serde(alias = "new_device")]
    new_device: bool,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct TrustedDeviceRequested {
    #[serde(alias = "device_name")]
    device_name: String,
    #[serde(alias = "device_kind")]
    device_kind: Named,
    browser: String,
    #[serde(alias = "operating_system")]
    operating_system: String,
    location: String,
    #[serde(alias = "match_number", skip_serializing_if = "Option::is_none")]
    match_number: Option<String>,
    source: String,
    #[serde(alias = "new_location")]
    new_location: bool,
    #[serde(alias = "new_device")]
    new_device: bool,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AccountShared {
    account: String,
    #[serde(alias = "shared_by")]
    shared_by: String,
    #[serde(alias = "access_level")]
    access_level: Named,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct OtpReceived {
    account: String,
    service: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Cancel {
    #[serde(alias = "event_id")]
    event_id: String,
}

/// A value of an enum.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Named {
    Number(i32),
    Name(String),
}

impl Default for Named {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Named {
    fn number(self, what: &str, from_name: impl Fn(&str) -> Option<i32>) -> Result<i32, String> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Name(name) => from_name(&name).ok_or_else(|| format!("{name:?} is no {what} of event.proto")),
        }
    }
}

/// Every event of the text, in order. `cancels` is the type whose topic a withdrawal goes to.
pub(super) fn read(text: &str, cancels: Option<NotificationType>) -> Result<Vec<Template>, JsonError> {
    let mut templates = Vec::new();
    let mut events = serde_json::Deserializer::from_str(text).into_iter::<Event>();
    loop {
        let from = text.len() - text[events.byte_offset()..].trim_start().len();
        let line = 1 + text[..from].matches('\n').count();
        let Some(event) = events.next() else { break };
        let event = event.map_err(|error| malformed(line, &error))?;
        let (event, kind) = wire_event(event, cancels).map_err(|why| JsonError { line, why })?;
        templates.push(Template { kind, event, lifetime: None, line: Some(line) });
    }
    if templates.is_empty() {
        return Err(JsonError { line: 1, why: "there is no event".to_owned() });
    }
    Ok(templates)
}

/// serde_json's sentence, with its line in front instead of behind.
fn malformed(begins: usize, error: &serde_json::Error) -> JsonError {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let why = text.strip_suffix(&place).unwrap_or(&text);
    match error.line() {
        0 => JsonError { line: begins, why: why.to_owned() },
        line => JsonError { line, why: format!("column {}: {why}", error.column()) },
    }
}

fn wire_event(event: Event, cancels: Option<NotificationType>) -> Result<(wire::Event, NotificationType), String> {
    let mut bodies = Vec::new();
    if let Some(asked) = event.identity_verification_requested {
        bodies.push((Some(NotificationType::IdentityVerification), identity_verification(asked)));
    }
    if let Some(asked) = event.trusted_device_requested {
        bodies.push((Some(NotificationType::TrustedDevice), trusted_device(asked)?));
    }
    if let Some(AccountShared { account, shared_by, access_level }) = event.account_shared {
        let from_name = |name: &str| wire::AccessLevel::from_str_name(name).map(i32::from);
        let access_level = access_level.number("AccessLevel", from_name)?;
        let body = Body::AccountShared(wire::AccountShared { account, shared_by, access_level });
        bodies.push((Some(NotificationType::AccountSharing), body));
    }
    if let Some(OtpReceived { account, service }) = event.otp_received {
        let body = Body::OtpReceived(wire::OtpReceived { account, service });
        bodies.push((Some(NotificationType::OtpReceived), body));
    }
    if let Some(Cancel { event_id }) = event.cancel {
        bodies.push((cancels, Body::Cancel(wire::Cancel { event_id })));
    }
    let (kind, body) = match (bodies.pop(), bodies.pop()) {
        (Some(only), None) => only,
        (Some(_), Some(_)) => return Err("the event has several bodies; it may have one".to_owned()),
        (None, _) => return Err("the event has no body: otpReceived, accountShared, …".to_owned()),
    };
    let kind = kind.ok_or("a cancel needs --cancel-type: the type of the event that it withdraws")?;
    let event = wire::Event {
        event_id: event.event_id,
        workspace_id: event.workspace_id,
        recipients: event.recipients,
        occurred_at: time("occurredAt", event.occurred_at)?,
        expires_at: time("expiresAt", event.expires_at)?,
        test: false,
        body: Some(body),
    };
    Ok((event, kind))
}

fn identity_verification(asked: IdentityVerificationRequested) -> Body {
    Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
        application: asked.application,
        reason: asked.reason,
        ip_address: asked.ip_address,
        location: asked.location,
        device: asked.device,
        match_number: asked.match_number,
        source: asked.source,
        new_location: asked.new_location,
        new_device: asked.new_device,
    })
}

fn trusted_device(asked: TrustedDeviceRequested) -> Result<Body, String> {
    let from_name = |name: &str| wire::DeviceKind::from_str_name(name).map(i32::from);
    Ok(Body::TrustedDeviceRequested(wire::TrustedDeviceRequested {
        device_name: asked.device_name,
        device_kind: asked.device_kind.number("DeviceKind", from_name)?,
        browser: asked.browser,
        operating_system: asked.operating_system,
        location: asked.location,
        match_number: asked.match_number,
        source: asked.source,
        new_location: asked.new_location,
        new_device: asked.new_device,
    }))
}

fn time(field: &str, text: Option<String>) -> Result<Option<prost_types::Timestamp>, String> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(at) => Ok(Some(at)),
        Err(_) => Err(format!("{field} is {text:?}; it is a time like 2026-11-01T12:00:00Z")),
    }
}

/// A record, for `--dry-run`: one line.
#[derive(Serialize)]
struct Record<'a> {
    topic: &'a str,
    key: Option<&'a str>,
    headers: Vec<(&'a str, String)>,
    event: Event,
    value_base64: String,
}

/// The line that `--dry-run` prints.
pub(super) fn record(record: &Stamped, topic: &str, headers: &Headers) -> String {
    let headers = headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value).into_owned())).collect();
    let line = Record {
        topic,
        key: record.key.as_deref(),
        headers,
        event: json_event(record.event.clone()),
        value_base64: STANDARD.encode(&record.payload),
    };
    // Strings, numbers and booleans: nothing in it cannot be written.
    serde_json::to_string(&line).unwrap_or_default()
}

fn json_event(event: wire::Event) -> Event {
    let mut json = Event {
        event_id: event.event_id,
        workspace_id: event.workspace_id,
        recipients: event.recipients,
        occurred_at: event.occurred_at.map(|at| at.to_string()),
        expires_at: event.expires_at.map(|at| at.to_string()),
        ..Event::default()
    };
    match event.body {
        None => {}
        Some(Body::IdentityVerificationRequested(asked)) => {
            json.identity_verification_requested = Some(IdentityVerificationRequested {
                application: asked.application,
                reason: asked.reason,
                ip_address: asked.ip_address,
                location: asked.location,
                device: asked.device,
                match_number: asked.match_number,
                source: asked.source,
                new_location: asked.new_location,
                new_device: asked.new_device,
            });
        }
        Some(Body::TrustedDeviceRequested(asked)) => {
            let device_kind = Named::Name(asked.device_kind().as_str_name().to_owned());
            json.trusted_device_requested = Some(TrustedDeviceRequested {
                device_name: asked.device_name,
                device_kind,
                browser: asked.browser,
                operating_system: asked.operating_system,
                location: asked.location,
                match_number: asked.match_number,
                source: asked.source,
                new_location: asked.new_location,
                new_device: asked.new_device,
            });
        }
        Some(Body::AccountShared(shared)) => {
            let access_level = Named::Name(shared.access_level().as_str_name().to_owned());
            let (account, shared_by) = (shared.account, shared.shared_by);
            json.account_shared = Some(AccountShared { account, shared_by, access_level });
        }
        Some(Body::OtpReceived(otp)) => {
            json.otp_received = Some(OtpReceived { account: otp.account, service: otp.service });
        }
        Some(Body::Cancel(cancel)) => json.cancel = Some(Cancel { event_id: cancel.event_id }),
    }
    json
}
