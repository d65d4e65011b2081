//! What upstream hears on `watchbell.decisions`, in plain words, and checked as upstream would check it.
use super::people::PHONES;
use super::stage::Stage;
use crate::event::wire;
use crate::event::wire::decision::Body;
use crate::people::signed::{DeviceKey, Flaw, SignedAnswer, Unchecked};

/// What to count a record as, and what to print of it.
pub(super) fn heard(decision: &wire::Decision, stage: &Stage) -> (String, String) {
    let user = &decision.user_id;
    match &decision.body {
        Some(Body::Asked(asked)) if asked.devices.is_empty() => {
            ("asked".into(), format!("asked: {user}, who has no phone that can answer"))
        }
        Some(Body::Asked(asked)) => ("asked".into(), format!("asked: {user}, on {}", asked.devices.join(" or "))),
        Some(Body::Notice(notice)) => {
            let kind = word(notice.kind().as_str_name(), "NOTICE_KIND_");
            let undelivered = notice.kind() == wire::NoticeKind::Undeliverable;
            let reason = if undelivered { format!(" ({})", notice.reason) } else { String::new() };
            ("notice".into(), format!("notice: {user} did not hear it ring, {kind}{reason}"))
        }
        Some(Body::Decided(decided)) => {
            let verb = word(decided.verb().as_str_name(), "VERB_");
            (format!("decided, {verb}"), format!("decided: {user}, {verb}; {}", signed_by(decided, stage)))
        }
        Some(Body::Closed(closed)) => {
            let reason = word(closed.reason().as_str_name(), "CLOSED_REASON_");
            (format!("closed, {reason}"), format!("closed: {user}, {reason}"))
        }
        Some(Body::NotMe(not_me)) => {
            let notice = word(not_me.notice().as_str_name(), "SYSTEM_NOTICE_");
            ("not me".into(), format!("not me: {user}, of a phone that was {notice}"))
        }
        None => ("something newer".into(), "something newer than this demo".into()),
    }
}

/// An enum's name as people read it.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', " ")
}

/// Whose key signed the statement. Upstream needs nothing but the record for it, and whose phone that is nobody knows but this demo.
fn signed_by(decided: &wire::Decided, stage: &Stage) -> String {
    let mut phones = PHONES.iter().filter_map(|phone| stage.sandbox().phones().view(phone.name).ok());
    let Some(phone) = phones.find(|phone| phone.thumbprint == decided.key_thumbprint) else {
        return "nobody signed it".into();
    };
    let key = DeviceKey::from_jwk(&decided.key_jwk).ok().filter(|key| key.thumbprint() == phone.thumbprint);
    let verified = key.ok_or(Flaw::Key).and_then(|key| {
        let statement = Unchecked::<SignedAnswer>::read(&decided.jws)?;
        statement.verify(&key, stage.enrolled().0)
    });
    match verified {
        Ok(_) => format!("signature of {} verified", phone.name),
        Err(flaw) => format!("not signed by {}: {flaw}", phone.name),
    }
}
