//! `watchbell decisions` and `watchbell outcomes`: what Watchbell tells others, as one line of JSON for each record.
//!
//! The point: to see at a terminal what upstream would see. It reads in no group and takes nothing from anybody. It deliberately leaves the
//! signed statements out, which may hold the number that somebody typed; whoever verifies them reads the topic (`docs/upstream.md`).
//!
//! It fails at the start if the brokers or the topic are not there. Ctrl-C ends it, with 130 if it was to print more.
use std::time::Duration;

use clap::Args;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::stop::Stop;
use super::{ConfigArgs, Failure, output};
use crate::config::Config;
use crate::event::wire;
use crate::kafka::client::Clients;
use crate::kafka::follow::Follower;

/// Between two looks at whether somebody asked to end.
const LOOK: Duration = Duration::from_millis(100);

/// Print what upstream hears (asked, notice, decided, closed), a line of JSON for each record, until Ctrl-C.
#[derive(Args)]
pub(super) struct DecisionsCommand {
    #[command(flatten)]
    follow: Follow,
}

/// Print how jobs end (accepted, suppressed, expired, …) and what phones showed, a line of JSON for each record, until Ctrl-C.
#[derive(Args)]
pub(super) struct OutcomesCommand {
    #[command(flatten)]
    follow: Follow,
}

#[derive(Args)]
struct Follow {
    /// Begin with the oldest record that Kafka still has, not with the next one.
    #[arg(long)]
    from_beginning: bool,
    /// End after so many records.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl DecisionsCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.follow.run(|config| &config.topics.decisions, |bytes| wire::Decision::decode(bytes).map(decision))
    }
}

impl OutcomesCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.follow.run(|config| &config.topics.outcomes, |bytes| wire::Outcome::decode(bytes).map(outcome))
    }
}

impl Follow {
    fn run(
        self,
        topic: fn(&Config) -> &String,
        read: fn(&[u8]) -> Result<Value, prost::DecodeError>,
    ) -> Result<(), Failure> {
        let config = self.config.load()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
        let done = runtime.block_on(async {
            let mut stop = Stop::listen()?;
            let clients = Clients::new(config.kafka.clone())?;
            let (topic, from_beginning, count) = (topic(&config).clone(), self.from_beginning, self.count);
            // Both block their thread: asking the brokers, and waiting for records.
            let following = tokio::task::spawn_blocking(move || {
                let follower = Follower::start(&clients, &topic, from_beginning)?;
                print(&follower, count, read)
            });
            tokio::select! {
                done = following => done.map_err(Failure::internal)?,
                () = stop.asked() => match count {
                    Some(count) => Err(Failure::Stopped(format!("ended before {count} records had come"))),
                    None => Ok(()),
                },
            }
        });
        // Whoever waits for a record does so for ever.
        runtime.shutdown_background();
        done
    }
}

/// Until so many were printed, or nobody reads any more.
fn print(
    follower: &Follower,
    mut left: Option<u64>,
    read: fn(&[u8]) -> Result<Value, prost::DecodeError>,
) -> Result<(), Failure> {
    while left != Some(0) {
        let Some(bytes) = follower.next(LOOK) else { continue };
        let line = read(&bytes).unwrap_or_else(|error| json!({"unreadable": error.to_string()}));
        if !output::line(line)? {
            return Ok(());
        }
        left = left.map(|left| left - 1);
    }
    Ok(())
}

/// A decision's line: what all have, and its body under its name.
fn decision(decision: wire::Decision) -> Value {
    use wire::decision::Body;
    let (kind, at) = (decision.r#type().as_str_name(), decision.at);
    let mut line = Map::new();
    line.insert("at".to_owned(), time(at));
    line.insert("workspace".to_owned(), decision.workspace_id.into());
    line.insert("type".to_owned(), word(kind, "NOTIFICATION_TYPE_"));
    line.insert("event".to_owned(), decision.event_id.into());
    line.insert("user".to_owned(), decision.user_id.into());
    line.insert("decision".to_owned(), decision.decision_id.into());
    let (name, body) = match decision.body {
        Some(Body::Asked(asked)) => ("asked", json!({"devices": asked.devices})),
        Some(Body::Notice(notice)) => {
            ("notice", json!({"kind": word(notice.kind().as_str_name(), "NOTICE_KIND_"), "reason": notice.reason}))
        }
        Some(Body::Decided(decided)) => (
            "decided",
            json!({
                "verb": word(decided.verb().as_str_name(), "VERB_"),
                "decided_at": time(decided.decided_at),
                "expires_at": time(decided.expires_at),
                "signed": !decided.jws.is_empty(),
                "key_thumbprint": decided.key_thumbprint,
            }),
        ),
        Some(Body::Closed(closed)) => {
            ("closed", json!({"reason": word(closed.reason().as_str_name(), "CLOSED_REASON_")}))
        }
        Some(Body::NotMe(not_me)) => (
            "not_me",
            json!({"notice": word(not_me.notice().as_str_name(), "SYSTEM_NOTICE_"), "device": not_me.device_id}),
        ),
        None => ("newer", json!({})),
    };
    line.insert(name.to_owned(), body);
    Value::Object(line)
}

/// An outcome's line.
fn outcome(outcome: wire::Outcome) -> Value {
    let job = <[u8; 16]>::try_from(outcome.job_id.as_slice()).map(|bytes| uuid::Uuid::from_bytes(bytes).to_string());
    let notice = outcome.notice();
    // What a phone showed is no ending.
    let seen = outcome.seen_at.is_some();
    let mut line = json!({
        "at": time(if seen { outcome.seen_at } else { outcome.ended_at }),
        "workspace": outcome.workspace_id,
        "type": word(outcome.r#type().as_str_name(), "NOTIFICATION_TYPE_"),
        "event": outcome.event_id,
        "user": outcome.user_id,
        "device": outcome.device_id,
        "job": job.ok(),
    });
    if seen {
        line["seen"] = true.into();
        return line;
    }
    line["ending"] = word(outcome.ending().as_str_name(), "ENDING_");
    line["reason"] = outcome.reason.into();
    line["attempts"] = outcome.attempts.into();
    line["latency_us"] = outcome.latency_us.into();
    line["withdrawal"] = outcome.withdrawal.into();
    if notice != wire::SystemNotice::Unspecified {
        line["notice"] = word(notice.as_str_name(), "SYSTEM_NOTICE_");
    }
    line
}

/// An enum's name as the API writes it.
fn word(name: &str, prefix: &str) -> Value {
    name.trim_start_matches(prefix).to_lowercase().into()
}

/// As the API writes it (RFC 3339); null where there is none.
fn time(at: Option<prost_types::Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every record is one line in the API's words, and no statement is in it: it may hold a number.
    #[test]
    fn lines() {
        let decided = wire::Decided {
            verb: wire::Verb::DenyNotMe.into(),
            decided_at: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
            jws: "a.b.c".into(),
            key_jwk: "{}".into(),
            key_thumbprint: "thumb".into(),
            ..Default::default()
        };
        let record = wire::Decision {
            workspace_id: "acme".into(),
            r#type: wire::NotificationType::TrustedDevice.into(),
            event_id: "e1".into(),
            user_id: "ada".into(),
            decision_id: "d1".into(),
            at: None,
            body: Some(wire::decision::Body::Decided(decided)),
        };
        let expected = json!({"at": null, "workspace": "acme", "type": "trusted_device", "event": "e1", "user": "ada",
            "decision": "d1", "decided": {"verb": "deny_not_me", "decided_at": "1970-01-01T00:00:01.500Z",
            "expires_at": null, "signed": true, "key_thumbprint": "thumb"}});
        assert_eq!(decision(record), expected);
        let ended = wire::Outcome {
            job_id: vec![0; 16],
            ending: wire::Ending::NoDevice.into(),
            r#type: wire::NotificationType::OtpReceived.into(),
            ..Default::default()
        };
        let line = outcome(ended);
        assert_eq!((&line["ending"], &line["type"]), (&json!("no_device"), &json!("otp_received")));
        assert_eq!(line["job"], "00000000-0000-0000-0000-000000000000");
        assert!(line.get("notice").is_none());
        let seen_at = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        let line = outcome(wire::Outcome { seen_at, device_id: "d1".into(), ..Default::default() });
        assert_eq!(
            (&line["seen"], &line["at"], line.get("ending")),
            (&json!(true), &json!("1970-01-01T00:00:01Z"), None)
        );
    }
}
