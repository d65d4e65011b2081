//! What must hold within each section, and between them.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Config;
use super::mend::StandIns;
use crate::control::auth::Authenticator;
use crate::provider::{Credentials, Providers};
use crate::seam::SystemClock;
use crate::settings::Problems;

/// Each is told apart in a byte of every record in flight.
const CREDENTIALS_MAX: usize = u8::MAX as usize;

impl Config {
    /// Everything that contradicts itself or cannot work, each sentence beginning with the full key. Nothing is compared with a value
    /// that only stands in for the operator's.
    pub(super) fn problems(&self, stand_ins: &StandIns) -> Problems {
        let mut problems = Problems::default();
        problems.nest("kafka", self.kafka.problems());
        problems.nest("topics", self.topics.problems());
        problems.nest("in_flight", self.in_flight.problems(self.apns.len() + self.fcm.len()));
        problems.nest("fanout", self.fanout.problems());
        problems.nest("policy", self.policy.problems());
        problems.nest("guard", self.guard.problems());
        problems.nest("provider", self.provider.problems());
        problems.nest("hold", self.hold.problems());
        problems.nest("dead_tokens", self.dead_tokens.problems());
        problems.nest("auth", self.auth.problems());
        problems.nest("api", self.api.problems());
        problems.nest("worker", self.worker.problems());
        problems.nest("telemetry", self.telemetry.problems());
        problems.require((1..=100).contains(&self.retry.attempts_max), "retry.attempts_max must be between 1 and 100");
        for (name, apns) in &self.apns {
            problems.nest(&format!("apns.{name}"), apns.problems());
        }
        for (name, fcm) in &self.fcm {
            problems.nest(&format!("fcm.{name}"), fcm.problems());
        }
        self.check_credentials(stand_ins, &mut problems);
        self.check_times(stand_ins, &mut problems);
        problems
    }

    /// What a worker needs beyond what every command needs: keys and accounts that can be used.
    pub(super) fn worker_problems(&self, stand_ins: &StandIns) -> Problems {
        let mut problems = Problems::default();
        let meant = stand_ins.touch("apns") || stand_ins.touch("fcm");
        problems.require(
            meant || !(self.apns.is_empty() && self.fcm.is_empty()),
            "apns and fcm are both without a credential, so nothing could be sent; add [apns.<name>] or [fcm.<name>]",
        );
        let credentials = Credentials { apns: &self.apns, fcm: &self.fcm };
        Providers::check(credentials, Arc::new(SystemClock)).into_iter().for_each(|problem| problems.add(problem));
        problems
    }

    /// What the API needs beyond what every command needs: people who can sign in.
    pub(super) fn api_problems(&self, stand_ins: &StandIns) -> Problems {
        let mut problems = Problems::default();
        problems.nest(
            "auth",
            self.auth.missing().into_iter().filter(|sentence| {
                let key = sentence.split(' ').next().unwrap_or_default();
                !stand_ins.holds(&format!("auth.{key}"))
            }),
        );
        if problems.is_empty() {
            problems.nest("auth", Authenticator::check(&self.auth).err());
        }
        let (rules, words) = (self.api.devices.rules(), &self.auth.acr_phishing_resistant);
        let known = !stand_ins.holds("api.devices.approver_ways") && !stand_ins.holds("auth.acr_phishing_resistant");
        if known && rules.first_phone(true) && !rules.first_phone(!words.is_empty()) {
            problems.add(
                "api.devices.approver_ways has phishing_resistant alone for a first phone, and auth.acr_phishing_resistant is empty, so nobody \
                 could ever approve: list the words by which your issuer says so, or name ticket or fresh_sign_in besides"
                    .to_owned(),
            );
        }
        let (request, store) = (self.api.request_timeout_ms, self.policy.store_timeout_ms);
        let known = !stand_ins.holds("api.request_timeout_ms") && !stand_ins.holds("policy.store_timeout_ms");
        if known && request <= store {
            problems.add(format!(
                "api.request_timeout_ms ({request}) must be above policy.store_timeout_ms ({store}): a request asks the store at least once"
            ));
        }
        problems
    }

    /// A device must lead to one credential, and its name must fit into a topic's.
    fn check_credentials(&self, stand_ins: &StandIns, problems: &mut Problems) {
        problems.require(
            self.apns.len() + self.fcm.len() <= CREDENTIALS_MAX,
            "apns and fcm have more than 255 credentials together; let one serve several apps",
        );
        for credential in self.credentials() {
            let (_, name) = credential.split_once('.').unwrap_or_default();
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if !(1..=32).contains(&name.len()) || !name.bytes().all(allowed) {
                problems.add(format!(
                    "{credential} has a name that does not fit into a topic's; use 1 to 32 lower-case letters, digits or '-'"
                ));
            }
        }
        let mut served = BTreeMap::new();
        let apns = self.apns.iter().flat_map(|(name, apns)| {
            apns.apps.iter().map(move |app| (format!("apns.{name}"), ("apns", apns.environment.name(), app)))
        });
        let fcm = self.fcm.iter().flat_map(|(name, fcm)| {
            fcm.apps.iter().map(move |app| (format!("fcm.{name}"), ("fcm", "production", app)))
        });
        let known = |credential: &str| {
            ["apps", "environment"].iter().all(|key| !stand_ins.holds(&format!("{credential}.{key}")))
        };
        for (credential, app) in apns.chain(fcm).filter(|(credential, _)| known(credential)) {
            if let Some(other) = served.insert(app, credential.clone()) {
                let (_, environment, app) = app;
                problems
                    .add(format!("{credential}.apps has {app} ({environment}), which {other} serves too; remove one"));
            }
        }
    }

    /// What is begun must be able to end before the next larger thing gives up.
    fn check_times(&self, stand_ins: &StandIns, problems: &mut Problems) {
        let known = |key: &str, value: u32| (!stand_ins.holds(key)).then_some(value);
        let push = known("provider.push_timeout_ms", self.provider.push_timeout_ms);
        let drain = known("worker.drain_deadline_ms", self.worker.drain_deadline_ms);
        let poll = known("kafka.max_poll_interval_ms", self.kafka.max_poll_interval_ms);
        if let (Some(push), Some(drain)) = (push, drain)
            && push >= drain
        {
            problems.add(format!(
                "worker.drain_deadline_ms ({drain}) must be above provider.push_timeout_ms ({push}): a push begun just before \
                 the shutdown has to end"
            ));
        }
        if let (Some(drain), Some(poll)) = (drain, poll)
            && drain >= poll
        {
            problems.add(format!(
                "kafka.max_poll_interval_ms ({poll}) must be above worker.drain_deadline_ms ({drain}): the partitions are ours \
                 while they drain"
            ));
        }
    }
}
