//! Faults: what goes wrong on purpose, for whom, how often and for how long.
//!
//! A [`Rule`] names a provider, optionally one device token, a share of requests or the next N of them, and one [`Fault`]. The
//! rules come from the control endpoint, from flags or from the library, and may change at any time.
//! It does not carry faults out: it only says which one meets a request; the connection and the service do the rest.
//! Without rules a request costs one relaxed atomic read here.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The simulated endpoint that a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Apple's push service.
    Apns,
    /// Firebase Cloud Messaging, the send method.
    Fcm,
    /// The OAuth2 token endpoint that FCM's senders use.
    Oauth,
    /// The OIDC issuer; what a rule calls `token` is a path here, such as `/jwks`.
    Issuer,
}

/// The value of a `Retry-After` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// As a number of seconds.
    Seconds(u64),
    /// As an HTTP date.
    Date {
        /// How far ahead of now, in seconds.
        date_in_s: u64,
    },
}

impl RetryAfter {
    /// The header's value at this moment.
    #[must_use]
    pub fn value(self) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date { date_in_s } => {
                httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(date_in_s))
            }
        }
    }
}

/// A refusal in the provider's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// APNs: the reason, such as `TooManyRequests`; FCM: the error code, such as `QUOTA_EXCEEDED`; token endpoint: the error,
    /// such as `invalid_grant`. A word that the provider does not have is sent as it is.
    pub reason: String,
    /// HTTP status; without it the one that belongs to the reason, or 400 for an unknown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// APNs 410 only: milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// Adds a `Retry-After` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfter>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The request is looked at only after this time; others are not held up.
    Latency {
        /// Milliseconds.
        ms: u64,
        /// Up to this many milliseconds more, evenly spread.
        #[serde(default)]
        jitter_ms: u64,
    },
    /// The request is refused in the provider's own form.
    Refuse(Refusal),
    /// The request gets these bytes: HTML from a front end, a bare 404, JSON of another shape, nothing.
    Reply {
        /// HTTP status.
        status: u16,
        /// The body.
        #[serde(default)]
        body: String,
        /// Its `content-type`; none if empty.
        #[serde(default)]
        content_type: String,
        /// Adds a `Retry-After` header.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// The stream is reset (INTERNAL_ERROR), before the push is accepted or after. On HTTP/1.1 the connection closes.
    ResetStream {
        /// Whether the push is accepted first.
        #[serde(default)]
        accept: bool,
    },
    /// The TCP connection is reset, before the push is accepted or after.
    Disconnect {
        /// Whether the push is accepted first.
        #[serde(default)]
        accept: bool,
    },
    /// The request never gets an answer; the connection lives on.
    Hang {
        /// Whether the push is accepted first.
        #[serde(default)]
        accept: bool,
    },
    /// The connection goes silent for ever: nothing is read, answered or closed any more, PING included.
    BlackHole,
    /// GOAWAY, then the connection closes. Requests that were waiting are lost: those above the last stream id surely, the
    /// others without a word.
    Goaway {
        /// Sent as `{"reason":…}` in the debug data.
        #[serde(default)]
        reason: Option<String>,
        /// Whether this push is accepted first, and so lies at or below the last stream id, unanswered.
        #[serde(default)]
        accept: bool,
    },
    /// From this request on the connection answers ExpiredProviderToken (FCM: UNAUTHENTICATED) to everything.
    Wedge,
    /// From this request on the connection answers no PING.
    IgnorePings,
    /// A new limit of concurrent streams for the connection, announced by SETTINGS; the request itself is answered.
    StreamLimit {
        /// Streams.
        streams: u32,
    },
}

/// One fault and whom it meets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Where.
    pub provider: Provider,
    /// Only requests for this device token.
    #[serde(default)]
    pub token: Option<String>,
    /// Share of the matching requests that are met, 0 to 100.
    #[serde(default = "all")]
    pub percent: f64,
    /// Matching requests that pass before the rule begins.
    #[serde(default)]
    pub skip: u64,
    /// Ends after this many requests were met.
    #[serde(default)]
    pub count: Option<u64>,
    /// Ends this many milliseconds after it was added.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

fn all() -> f64 {
    100.0
}

impl Rule {
    /// A rule for every request of `provider`, without end.
    #[must_use]
    pub fn always(provider: Provider, fault: Fault) -> Self {
        Self { provider, token: None, percent: all(), skip: 0, count: None, for_ms: None, fault }
    }

    /// The same rule, ending after `count` requests.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// The same rule for one device token.
    #[must_use]
    pub fn on(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }
}

struct Live {
    id: u64,
    rule: Rule,
    until: Option<Instant>,
    met: u64,
}

/// What meets one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) delay: Option<Duration>,
    pub(crate) fault: Option<Fault>,
}

/// All rules in force.
#[derive(Default)]
pub(crate) struct FaultBook {
    active: AtomicBool,
    dice: AtomicU64,
    rules: Mutex<(u64, Vec<Live>)>,
}

impl FaultBook {
    /// Adds a rule and returns its number.
    pub(crate) fn add(&self, rule: Rule) -> u64 {
        let until = rule.for_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.0 += 1;
        let id = rules.0;
        rules.1.push(Live { id, rule, until, met: 0 });
        self.active.store(true, Ordering::Release);
        id
    }

    /// Removes the rule `id`, or all; how many were removed.
    pub(crate) fn remove(&self, id: Option<u64>) -> usize {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let before = rules.1.len();
        rules.1.retain(|live| id.is_some_and(|id| live.id != id));
        self.active.store(!rules.1.is_empty(), Ordering::Release);
        before - rules.1.len()
    }

    /// The rules in force: number, rule, how many requests it met.
    pub(crate) fn list(&self) -> Vec<(u64, Rule, u64)> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.1.iter().map(|live| (live.id, live.rule.clone(), live.met)).collect()
    }

    /// Whether any rule is in force.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// What meets a request for `token` at `provider`: the delays of all matching rules together, and the first other fault.
    pub(crate) fn meet(&self, provider: Provider, token: Option<&str>) -> Verdict {
        let mut verdict = Verdict::default();
        let now = Instant::now();
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.1.retain(|live| live.until.is_none_or(|until| now < until));
        for live in &mut rules.1 {
            let rule = &mut live.rule;
            let aimed = rule.provider == provider && rule.token.as_deref().is_none_or(|wanted| Some(wanted) == token);
            let taken = verdict.fault.is_some() && !matches!(rule.fault, Fault::Latency { .. });
            if !aimed || taken || rule.count == Some(0) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.percent < 100.0 && self.roll() * 100.0 >= rule.percent {
                continue;
            }
            live.met += 1;
            if let Some(left) = &mut rule.count {
                *left -= 1;
            }
            if let Fault::Latency { ms, jitter_ms } = rule.fault {
                let jitter = (self.roll() * jitter_ms as f64) as u64;
                verdict.delay = Some(verdict.delay.unwrap_or_default() + Duration::from_millis(ms + jitter));
            } else {
                verdict.fault = Some(rule.fault.clone());
            }
        }
        rules.1.retain(|live| live.rule.count != Some(0));
        self.active.store(!rules.1.is_empty(), Ordering::Release);
        verdict
    }

    /// An even number in 0..1, the same sequence in every run (SplitMix64).
    fn roll(&self) -> f64 {
        let state = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hang() -> Fault {
        Fault::Hang { accept: false }
    }

    #[test]
    fn a_rule_meets_only_its_aim_and_ends_after_its_count() {
        // Provider and token select; skip passes first; count ends it, and the book is inactive again.
        let book = FaultBook::default();
        book.add(Rule { skip: 1, ..Rule::always(Provider::Apns, hang()).on("aa").times(2) });
        assert_eq!(book.meet(Provider::Fcm, Some("aa")), Verdict::default());
        assert_eq!(book.meet(Provider::Apns, Some("bb")), Verdict::default());
        assert_eq!(book.meet(Provider::Apns, None), Verdict::default());
        let met: Vec<bool> = (0..5).map(|_| book.meet(Provider::Apns, Some("aa")).fault.is_some()).collect();
        assert_eq!(met, [false, true, true, false, false]);
        assert!(!book.is_active());
    }

    #[test]
    fn latency_adds_to_another_fault() {
        // A slow refusal is a delay and a refusal; a second refusal does not replace the first and keeps its count.
        let book = FaultBook::default();
        book.add(Rule::always(Provider::Apns, Fault::Latency { ms: 20, jitter_ms: 0 }));
        book.add(Rule::always(Provider::Apns, hang()).times(1));
        book.add(Rule::always(Provider::Apns, Fault::BlackHole).times(1));
        let first = book.meet(Provider::Apns, None);
        assert_eq!(first, Verdict { delay: Some(Duration::from_millis(20)), fault: Some(hang()) });
        assert_eq!(book.meet(Provider::Apns, None).fault, Some(Fault::BlackHole));
        assert_eq!(book.meet(Provider::Apns, None).fault, None);
    }

    #[test]
    fn a_rule_ends_with_its_time() {
        // A rule of no duration has ended before it begins; one of an hour meets.
        let book = FaultBook::default();
        book.add(Rule { for_ms: Some(0), ..Rule::always(Provider::Apns, hang()) });
        assert_eq!(book.meet(Provider::Apns, None), Verdict::default());
        assert!(!book.is_active());
        book.add(Rule { for_ms: Some(3_600_000), ..Rule::always(Provider::Apns, hang()) });
        assert_eq!(book.meet(Provider::Apns, None).fault, Some(hang()));
    }

    #[test]
    fn a_percentage_is_a_share() {
        // 30 percent of 10,000 requests lie near 3,000 (six standard deviations are 275).
        let book = FaultBook::default();
        book.add(Rule { percent: 30.0, ..Rule::always(Provider::Fcm, hang()) });
        let met = (0..10_000).filter(|_| book.meet(Provider::Fcm, None).fault.is_some()).count();
        assert!((2_725..3_275).contains(&met), "{met}");
    }

    #[test]
    fn rules_are_read_from_json_and_misspelt_ones_are_refused() {
        // The control endpoint's form: defaults filled in, unknown words refused.
        let rule: Rule = serde_json::from_str(
            r#"{"provider":"fcm","count":2,"fault":{"kind":"refuse","reason":"UNAVAILABLE","retry_after":{"date_in_s":7}}}"#,
        )
        .unwrap();
        let refusal = Refusal {
            reason: "UNAVAILABLE".into(),
            status: None,
            timestamp: None,
            retry_after: Some(RetryAfter::Date { date_in_s: 7 }),
        };
        assert_eq!(rule, Rule::always(Provider::Fcm, Fault::Refuse(refusal)).times(2));
        for wrong in [
            r#"{"provider":"fcm","fault":{"kind":"explode"}}"#,
            r#"{"provider":"wns","fault":{"kind":"black_hole"}}"#,
            r#"{"provider":"fcm","fault":{"kind":"latency","ms":1,"micros":2}}"#,
            r#"{"provider":"fcm","cuont":1,"fault":{"kind":"black_hole"}}"#,
        ] {
            assert!(serde_json::from_str::<Rule>(wrong).is_err(), "{wrong}");
        }
    }
}
