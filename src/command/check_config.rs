//! `watchbell check-config`: tells everything that is wrong with a configuration, or what it amounts to.
use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::{ConfigArgs, Failure, output};
use crate::config::Config;

/// Check a configuration: every problem at once, or OK with a summary.
#[derive(Args)]
pub(super) struct CheckConfig {
    /// Whose needs are checked. Without `api`, the summary says whether the API could start.
    #[arg(long = "for", value_enum, default_value = "worker")]
    process: Process,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What a configuration is for.
#[derive(Clone, Copy, ValueEnum)]
enum Process {
    /// `watchbell worker`.
    Worker,
    /// `watchbell api`.
    Api,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = match self.process {
            Process::Worker => self.config.load_for_worker()?,
            Process::Api => self.config.load_for_api()?,
        };
        output::line(format!("OK\n{}", summary(&config).trim_end()))?;
        Ok(())
    }
}

fn summary(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        writeln!(text, "  {name:<10} {value}").ok();
    };
    let (kafka, topics) = (&config.kafka, &config.topics);
    let sasl = kafka.security.sasl_mechanism.map_or(String::new(), |mechanism| format!(" {}", mechanism.name()));
    line("Kafka", format!("{} over {}{sasl}", kafka.bootstrap_servers, kafka.security.protocol.name()));
    let groups = [kafka.group.clone(), kafka.jobs_group(), kafka.withdraw_group(), kafka.requests_group()];
    line("groups", groups.join(", "));
    let events = crate::event::NotificationType::ALL.map(|kind| topics.event(kind));
    line(
        "reads",
        format!(
            "{}, {}, {}.*, {}.*, {}",
            events.join(", "),
            topics.decisions,
            topics.jobs,
            topics.hold,
            topics.redrive
        ),
    );
    line("writes", format!("{}.*, {}.*, {}, {}", topics.jobs, topics.hold, topics.dlq, topics.outcomes));
    let redis = if config.policy.redis_url.is_some() { "behind Redis" } else { "without Redis" };
    line("store", format!("{} {redis}, answers at most {} s old", config.policy.store_name(), config.policy.ttl_s));
    for (name, apns) in &config.apns {
        let (apps, environment) = (apns.apps.join(", "), apns.environment.name());
        line(&format!("apns.{name}"), format!("{apps} ({environment}){}", at(apns.base_url.as_deref())));
    }
    for (name, fcm) in &config.fcm {
        line(&format!("fcm.{name}"), format!("{}{}", fcm.apps.join(", "), at(fcm.base_url.as_deref())));
    }
    match &config.auth.issuer {
        Some(issuer) => line("sign-in", format!("{issuer} for {}", config.auth.audience.join(", "))),
        None => line("sign-in", "not configured: `watchbell api` needs [auth]".to_owned()),
    }
    let (api, telemetry) = (&config.api.http_listen, &config.api.telemetry_listen);
    line("API", format!("{api}, its health at {telemetry}; writes {}, {}", topics.audit, topics.decisions));
    let devices = &config.api.devices;
    let ways: Vec<_> = devices.approver_ways.iter().map(|way| way.name()).collect();
    line("phones", format!("know the API as {}; may approve by {}", devices.public_url, ways.join(", ")));
    line("in flight", format!("{} records", config.in_flight.max));
    let (push, drain) = (config.provider.push_timeout_ms, config.worker.drain_deadline_ms);
    let poll = kafka.max_poll_interval_ms;
    line("times", format!("push {push} ms < drain {drain} ms < poll {poll} ms"));
    line("worker", config.worker.http_listen.clone());
    text
}

fn at(base_url: Option<&str>) -> String {
    base_url.map_or(String::new(), |url| format!(" at {url}"))
}
