//! What the policy store tells operators: one function for each happening.
use std::sync::LazyLock;

use metrics::{Counter, counter, gauge};

use super::outbox::Backlog;
use crate::seam::OutboxTopic;

/// Where a value came from.
pub(super) struct Reads {
    pub(super) memory: Counter,
    pub(super) redis: Counter,
    pub(super) store: Counter,
    pub(super) last_known: Counter,
}

/// Registered once: looking a counter up costs more than a read of the cache.
#[derive(Clone)]
pub(super) struct Handles(std::sync::Arc<Reads>);

impl std::ops::Deref for Handles {
    type Target = Reads;

    fn deref(&self) -> &Reads {
        &self.0
    }
}

impl Handles {
    pub(super) fn register() -> Self {
        let from = |source: &'static str| counter!("watchbell_policy_reads_total", "from" => source);
        let (memory, redis, store) = (from("memory"), from("redis"), from("store"));
        Self(std::sync::Arc::new(Reads { memory, redis, store, last_known: from("last_known") }))
    }
}

static INVALIDATIONS: LazyLock<Counter> = LazyLock::new(|| counter!("watchbell_policy_invalidations_total"));

pub(super) fn invalidated() {
    INVALIDATIONS.increment(1);
}

pub(super) fn redis_in_use() {
    gauge!("watchbell_policy_redis_up").set(1.0);
    tracing::info!("Redis is in use: changes of policy arrive as they are made");
}

pub(super) fn redis_lost(why: &str) {
    gauge!("watchbell_policy_redis_up").set(0.0);
    counter!("watchbell_policy_redis_lost_total").increment(1);
    tracing::warn!(
        why,
        "Redis is out of use: the policy store is asked directly, and others' changes are seen after one TTL"
    );
}

pub(super) fn redis_absent(why: &str) {
    gauge!("watchbell_policy_redis_up").set(0.0);
    tracing::warn!(why, "Redis does not answer: the policy store is asked directly until it does");
}

pub(super) fn redis_still_absent(why: &str) {
    tracing::debug!(why, "Redis still does not answer");
}

pub(super) fn redis_unfit(why: &str) {
    counter!("watchbell_policy_redis_unfit_total").increment(1);
    tracing::error!(why, "Redis answers again but must not be used; mend policy.redis_url");
}

static COUNTED_ALONE: LazyLock<Counter> = LazyLock::new(|| counter!("watchbell_guard_counted_alone_total"));

/// Redis is configured and was not asked: often, while it is away.
pub(super) fn counted_alone() {
    COUNTED_ALONE.increment(1);
}

pub(super) fn guard_not_told() {
    counter!("watchbell_guard_answers_lost_total").increment(1);
    tracing::warn!(
        "somebody's answer did not reach the common count of what rings: the fatigue guard goes on for them as before"
    );
}

pub(super) fn not_announced() {
    counter!("watchbell_policy_unannounced_changes_total").increment(1);
    tracing::warn!("a change of policy was made but could not be announced: other processes see it after one TTL");
}

pub(super) fn newer_schema(found: i64, known: i64) {
    tracing::info!(
        found,
        known,
        "the policy store was migrated by a newer version; what this version needs is still there"
    );
}

/// Asked for by somebody who now waits.
pub(super) fn unreadable(is_user: bool) {
    let kind = if is_user { "user" } else { "workspace" };
    counter!("watchbell_policy_unreadable_rows_total", "kind" => kind).increment(1);
}

pub(super) fn unreadable_row(workspace: &str, user: Option<&str>, why: &str) {
    tracing::error!(
        workspace,
        user,
        why,
        "this version cannot read a row of the policy store, and what is for its owner waits: run a newer version, or mend the row"
    );
}

pub(super) fn last_known_used(why: &str) {
    tracing::warn!(why, "neither Redis nor the policy store answers: the last known policy is used");
}

pub(super) fn outbox_backlog(topic: OutboxTopic, backlog: Backlog) {
    gauge!("watchbell_outbox_waiting", "topic" => topic.name()).set(backlog.waiting as f64);
    gauge!("watchbell_outbox_oldest_seconds", "topic" => topic.name()).set(backlog.oldest.as_secs_f64());
}

pub(super) fn outbox_stalled(why: &str) {
    counter!("watchbell_outbox_stalls_total").increment(1);
    tracing::warn!(why, "the outbox waits: the store does not answer");
}

/// Somebody said that it was not them. No id of a person stands in it.
pub(super) fn not_me(of: &'static str, alerted: u32) {
    counter!("watchbell_not_me_total", "of" => of).increment(1);
    tracing::warn!(
        of,
        alerted,
        "somebody said that it was not them; the people who administer their workspace are told"
    );
}

pub(super) fn more_admins_than_alerted(max: usize) {
    tracing::warn!(
        max,
        "a workspace has more people to alert than are told at once; those who were here last are told"
    );
}
