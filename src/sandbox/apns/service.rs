//! One connection to the APNs simulator: what it remembers, and its answer to each request.
//!
//! A connection is bound to the team of its first good token, counts the distinct tokens it is shown, may wedge after an expired
//! one, and has one stream until a good token was seen (Apple, "Establishing a token-based connection to APNs").
//! Verifying, judging headers and payloads, and keeping devices lie in the modules beside it.
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::check::{self, Checked};
use super::inbox::Push;
use super::reason::Reason;
use super::token::Verdict;
use super::{Apns, now_us, payload};
use crate::sandbox::config::Environment;
use crate::sandbox::exchange::{Answer, FIELDS, Field, Request, Service};
use crate::sandbox::fault::{Provider, Refusal};

/// A provider token's life in seconds (Apple: one hour).
const TOKEN_LIFE_S: i64 = 3_600;
/// How far ahead of our clock a token may be issued, in seconds. Apple states no number.
const SKEW_S: i64 = 60;
/// The span in which Apple counts distinct tokens.
const UPDATE_WINDOW: Duration = Duration::from_secs(20 * 60);

/// Why a push is refused, with the timestamp of a 410 in milliseconds.
type Refused = (Reason, Option<u64>);

/// One connection.
pub(crate) struct ApnsService {
    apns: Arc<Apns>,
    /// The last token and its verdict: nearly every request repeats it.
    last: Option<(Vec<u8>, Verdict)>,
    /// Distinct tokens of the last 20 minutes and when each was first shown.
    tokens: Vec<(Vec<u8>, Instant)>,
    /// Index of the key that the connection is bound to.
    bound: Option<usize>,
    wedged: bool,
    /// Whether a good token was seen.
    authorized: bool,
    raised: bool,
    /// Whether an error took the streams away, so that an accepted push has to give them back.
    cut: bool,
    /// Set for this connection by a fault or a command.
    own_limit: Option<u32>,
    /// What counts against this connection since the last accepted push.
    errors: u32,
}

impl ApnsService {
    pub(crate) fn new(apns: Arc<Apns>) -> Self {
        Self {
            apns,
            last: None,
            tokens: Vec::new(),
            bound: None,
            wedged: false,
            authorized: false,
            raised: false,
            cut: false,
            own_limit: None,
            errors: 0,
        }
    }

    fn judge(&mut self, request: &Request<'_>, now_us: u64, apns_id: &[u8; 36]) -> Result<(), Refused> {
        let checked = check::check(request.head).map_err(bare)?;
        let key = self.authorize(request, now_us).map_err(bare)?;
        self.authorized = true;
        self.allow_topic(key, checked.bundle, checked.topic).map_err(bare)?;
        check::size(request.body, checked.push_type).map_err(bare)?;
        if self.apns.config.check_payloads {
            payload::check(request.body, checked.push_type).map_err(bare)?;
        }
        let token: Cow<'_, str> = if checked.token.bytes().any(|byte| byte.is_ascii_uppercase()) {
            checked.token.to_ascii_lowercase().into()
        } else {
            checked.token.into()
        };
        let environment = self.environment(key);
        self.apns.inbox.admit(&token, checked.bundle, environment)?;
        let key_id = &self.apns.verifier.keys[key].key.key_id;
        self.apns.inbox.accept(apns_id, now_us, |sequence| Push {
            sequence,
            ..record(request, &checked, &token, apns_id, now_us, key_id)
        });
        Ok(())
    }

    fn environment(&self, key: usize) -> Option<Environment> {
        self.apns.environment_of(&self.apns.verifier.keys[key].key)
    }

    /// The key whose token authorizes the request.
    fn authorize(&mut self, request: &Request<'_>, now_us: u64) -> Result<usize, Reason> {
        if self.wedged {
            return Err(Reason::ExpiredProviderToken);
        }
        let value = request.head.get(Field::Authorization).ok_or(Reason::MissingProviderToken)?;
        let token = bearer(value).ok_or(Reason::MissingProviderToken)?;
        let known = match &self.last {
            Some((last, verdict)) if last == token => Some(*verdict),
            Some(_) | None => None,
        };
        let verdict = match known {
            Some(verdict) => verdict,
            None => self.new_token(token)?,
        };
        let Verdict::Signed { key, issued_at } = verdict else { return Err(Reason::InvalidProviderToken) };
        let age = (now_us / 1_000_000) as i64 - issued_at;
        if age > TOKEN_LIFE_S {
            self.wedged = self.apns.config.wedge_on_expired;
            return Err(Reason::ExpiredProviderToken);
        }
        if age < -SKEW_S {
            return Err(Reason::InvalidProviderToken);
        }
        self.bind(key)
    }

    /// A token that differs from the one before: counted, then verified.
    fn new_token(&mut self, token: &[u8]) -> Result<Verdict, Reason> {
        let now = Instant::now();
        self.tokens.retain(|(_, since)| now.duration_since(*since) < UPDATE_WINDOW);
        if !self.tokens.iter().any(|(known, _)| known == token) {
            self.tokens.push((token.to_vec(), now));
        }
        // Over the limit the whole connection is refused, with its old token too, until tokens leave the window.
        if self.tokens.len() > self.apns.config.tokens_per_20_minutes {
            self.last = None;
            return Err(Reason::TooManyProviderTokenUpdates);
        }
        let verdict = self.apns.verifier.verdict(token);
        self.last = Some((token.to_vec(), verdict));
        if let (Verdict::Signed { .. }, Ok(token)) = (verdict, std::str::from_utf8(token)) {
            self.apns.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned());
        }
        Ok(verdict)
    }

    /// One team a connection; keys for topics or of another environment do not mix with others.
    fn bind(&mut self, index: usize) -> Result<usize, Reason> {
        let keys = &self.apns.verifier.keys;
        let key = &keys[index].key;
        if let (Some(own), Some(bound)) = (self.apns.config.environment, key.environment)
            && own != bound
        {
            return Err(Reason::BadEnvironmentKeyIdInToken);
        }
        let Some(bound) = self.bound else {
            self.bound = Some(index);
            return Ok(index);
        };
        let first = &keys[bound].key;
        if first.team_id != key.team_id {
            return Err(Reason::InvalidProviderToken);
        }
        let special = !first.topics.is_empty() || !key.topics.is_empty() || first.environment != key.environment;
        if bound != index && special {
            return Err(Reason::UnrelatedKeyIdInToken);
        }
        Ok(index)
    }

    fn allow_topic(&self, key: usize, bundle: &str, topic: &str) -> Result<(), Reason> {
        let key = &self.apns.verifier.keys[key].key;
        let team = self.apns.config.teams.iter().find(|team| team.team_id == key.team_id);
        let within = |topics: &[String]| topics.is_empty() || topics.iter().any(|own| own == bundle || own == topic);
        if within(&key.topics) && team.is_none_or(|team| within(&team.topics)) {
            Ok(())
        } else {
            Err(Reason::TopicDisallowed)
        }
    }

    fn limit(&self) -> u32 {
        self.own_limit.unwrap_or_else(|| self.apns.stream_limit.load(Ordering::Relaxed))
    }

    fn write_refusal(&mut self, status: u16, reason: &str, timestamp: Option<u64>, answer: &mut Answer) {
        self.apns.count_refusal(status, reason);
        answer.headers.push(("content-type", "application/json".to_owned()));
        let body = match timestamp {
            Some(timestamp) => serde_json::json!({ "reason": reason, "timestamp": timestamp }),
            None => serde_json::json!({ "reason": reason }),
        };
        answer.body.extend_from_slice(body.to_string().as_bytes());
        self.hold_against(status, reason, answer);
    }

    /// What a refusal costs the connection: its streams, and after many of them itself. Only what the sender did wrong counts, and a
    /// device that left is nobody's mistake.
    fn hold_against(&mut self, status: u16, reason: &str, answer: &mut Answer) {
        if !(400..500).contains(&status) || status == 410 {
            return;
        }
        let config = &self.apns.config;
        self.errors += if reason == Reason::BadDeviceToken.wire().1 { 2 } else { 1 };
        answer.leave = config.errors_until_goaway > 0 && self.errors >= config.errors_until_goaway;
        // A good token raises the limit even if its own push is refused.
        if self.raised && answer.stream_limit.is_none() && config.cut_streams_on_error {
            self.raised = false;
            self.cut = true;
            answer.stream_limit = Some(config.first_stream_limit);
        }
    }
}

impl Service for ApnsService {
    fn body_limit(&self) -> usize {
        check::MAX_VOIP_PAYLOAD
    }

    fn first_stream_limit(&self) -> u32 {
        self.apns.config.first_stream_limit.min(self.limit())
    }

    fn target<'a>(&self, request: &Request<'a>) -> (Provider, Option<Cow<'a, str>>) {
        let token = request.head.get(Field::Path).and_then(check::token_in);
        (Provider::Apns, token.map(|token| token.to_ascii_lowercase().into()))
    }

    fn answer(&mut self, request: &Request<'_>, answer: &mut Answer) {
        let now_us = now_us();
        let apns_id = echo(request);
        answer.reset(200);
        answer.apns_id = Some(apns_id);
        let judged = self.judge(request, now_us, &apns_id);
        if !self.raised && self.authorized && (!self.cut || judged.is_ok()) {
            self.raised = true;
            self.cut = false;
            answer.stream_limit = Some(self.limit());
        }
        if self.bound.is_some_and(|key| self.environment(key) == Some(Environment::Sandbox)) {
            // Apple's development environment adds a key into its delivery log.
            answer.headers.push(("apns-unique-id", uuid::Uuid::new_v4().to_string()));
        }
        if let Err((reason, timestamp)) = judged {
            let (status, word) = reason.wire();
            answer.status = status;
            self.write_refusal(status, word, timestamp, answer);
        } else {
            self.errors = 0;
        }
    }

    fn refuse(&mut self, request: &Request<'_>, refusal: &Refusal, answer: &mut Answer) {
        let status = refusal.status.or_else(|| Reason::status_of(&refusal.reason)).unwrap_or(400);
        answer.reset(status);
        answer.apns_id = Some(echo(request));
        if let Some(retry_after) = refusal.retry_after {
            answer.headers.push(("retry-after", retry_after.value()));
        }
        self.write_refusal(status, &refusal.reason, refusal.timestamp, answer);
    }

    fn wedge(&mut self) {
        self.wedged = true;
    }

    fn set_stream_limit(&mut self, limit: u32) {
        self.own_limit = Some(limit);
        self.raised = true;
        self.cut = false;
    }
}

fn bare(reason: Reason) -> Refused {
    (reason, None)
}

/// The token of `bearer {token}`; the scheme in any case, as RFC 9110 has it and as clients send it.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// The `apns-id` of the answer: the request's if it is canonical, else a new one.
fn echo(request: &Request<'_>) -> [u8; 36] {
    request.head.get(Field::ApnsId).and_then(check::canonical_id).unwrap_or_else(|| {
        let mut id = [0_u8; 36];
        uuid::Uuid::new_v4().hyphenated().encode_lower(&mut id);
        id
    })
}

fn record(
    request: &Request<'_>,
    checked: &Checked<'_>,
    token: &str,
    apns_id: &[u8; 36],
    now_us: u64,
    key_id: &str,
) -> Push {
    // The provider token is a secret and stays out of what is kept.
    let judged = [Field::Path, Field::Authorization];
    let known = FIELDS.iter().filter(|(field, _)| !judged.contains(field)).filter_map(|(field, name)| {
        request.head.get(*field).map(|value| ((*name).to_owned(), String::from_utf8_lossy(value).into_owned()))
    });
    let others = request
        .head
        .others()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()));
    Push {
        sequence: 0,
        at_ms: now_us / 1_000,
        token: token.to_owned(),
        apns_id: String::from_utf8_lossy(apns_id).into_owned(),
        topic: checked.topic.to_owned(),
        push_type: checked.push_type.word(),
        priority: checked.priority,
        expiration: checked.expiration,
        collapse_id: checked.collapse_id.map(str::to_owned),
        key_id: key_id.to_owned(),
        headers: known.chain(others).collect(),
        payload: serde_json::from_slice(request.body).unwrap_or_default(),
        payload_bytes: request.body.len(),
    }
}
