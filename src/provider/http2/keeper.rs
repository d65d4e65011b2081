//! The pool's keeper: one task that turns the clock, wakes what is over, opens connections and replaces sick ones.
//!
//! **Point:** no timer and no task for a request; connections are opened one after the other, never in a storm.
//! **Does not:** keep the pool alive: it ends when the last clone of the pool is gone.
//! **Fails** to connect with a growing, jittered pause, and says why to those who wait.
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    ConnectionId, PoolConfig,
    connection::{Drive, handshake},
    error::text,
    pool::{Shared, TICK, ticks},
    state::{Sickness, Tick},
};

/// Gauges are published and the sick looked for once in so many ticks.
const ROUND: Tick = 20;

/// What the keeper remembers from one tick to the next.
struct Keeper {
    dialing: Option<JoinHandle<()>>,
    next_dial: Tick,
    dials: u64,
    next_replacement: Tick,
}

pub(super) async fn keep(shared: Weak<Shared>) {
    let mut keeper = Keeper { dialing: None, next_dial: 0, dials: 0, next_replacement: 0 };
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let elapsed = Instant::now().saturating_duration_since(shared.epoch);
        let now = Tick::try_from(elapsed.as_millis() / TICK.as_millis()).unwrap_or(Tick::MAX);
        shared.tick.store(now, Ordering::Relaxed);
        shared.state().sweep(now);
        keeper.connect(&shared, now);
        if now % ROUND == 0 {
            keeper.replace_sick(&shared, now);
            let census = shared.state().census();
            shared.telemetry.publish(census);
        }
    }
}

impl Keeper {
    /// Opens a connection if one is missing, none is being opened and it is time.
    fn connect(&mut self, shared: &Arc<Shared>, now: Tick) {
        let (census, closing) = {
            let state = shared.state();
            (state.census(), state.is_closing())
        };
        if census.proven {
            shared.failures.store(0, Ordering::Relaxed);
        }
        if self.dialing.as_ref().is_some_and(JoinHandle::is_finished) {
            self.dialing = None;
            let failures = shared.failures.load(Ordering::Relaxed);
            let pause =
                if failures == 0 { shared.config.connect_spacing_ms } else { backoff(&shared.config, failures) };
            self.next_dial = now.saturating_add(ticks(pause));
        }
        if self.dialing.is_some() || closing || now < self.next_dial || census.open >= shared.config.connections {
            return;
        }
        self.dials += 1;
        self.dialing = Some(tokio::spawn(open(Arc::downgrade(shared), ConnectionId(self.dials))));
    }

    fn replace_sick(&mut self, shared: &Arc<Shared>, now: Tick) {
        if now < self.next_replacement {
            return;
        }
        let Some((connection, sickness)) = shared.state().sick(now) else { return };
        self.next_replacement = now.saturating_add(ticks(shared.config.replace_interval_ms));
        if shared.let_go(connection) {
            let (counter, why) = match sickness {
                Sickness::Slow => (&shared.telemetry.retired_slow, "it answers far more slowly than the others"),
                Sickness::Narrow => (&shared.telemetry.retired_narrow, "the peer keeps it at one stream"),
            };
            counter.increment(1);
            tracing::warn!(pool = %shared.name, %connection, why, "sick connection replaced");
        }
    }
}

/// Milliseconds to wait after so many failures: doubled each time, jittered downwards by up to a half.
fn backoff(config: &PoolConfig, failures: u32) -> u64 {
    let doubled =
        config.backoff_min_ms.saturating_mul(1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX));
    let ceiling = doubled.min(config.backoff_max_ms);
    rand::random_range(ceiling / 2..=ceiling)
}

/// Opens one connection and leaves a task behind that drives it.
async fn open(shared: Weak<Shared>, id: ConnectionId) {
    let Some(shared) = shared.upgrade() else { return };
    let turn = usize::try_from(id.0).unwrap_or(0);
    let limit = shared.config.connect_timeout();
    match establish(&shared, id, turn, limit).await {
        Ok(()) => {
            shared.set_failure(None);
            shared.telemetry.opened.increment(1);
        }
        Err(why) => {
            shared.failures.fetch_add(1, Ordering::Relaxed);
            shared.telemetry.connect_failures.increment(1);
            tracing::warn!(pool = %shared.name, connection = %id, why = %why, "cannot connect");
            shared.set_failure(Some(why));
        }
    }
}

async fn establish(shared: &Arc<Shared>, id: ConnectionId, turn: usize, limit: Duration) -> Result<(), Arc<str>> {
    let io = shared.dialer.dial(turn, limit).await.map_err(|error| text(&error))?;
    let opening = handshake(io, id, shared.dialer.authority());
    let (connection, driver, line) = opening.await.map_err(|error| text(&error))?;
    let drive = Drive::new(connection.clone(), driver, line, shared);
    {
        let mut state = shared.state();
        if state.is_closing() {
            return Err("the pool is closing".into());
        }
        // One stream until the peer's SETTINGS say more.
        state.opened(id, connection, 1, shared.now());
    }
    tracing::info!(pool = %shared.name, connection = %id, "connected");
    let watcher = Arc::downgrade(shared);
    let born = Instant::now();
    tokio::spawn(async move {
        let why = drive.await;
        let Some(shared) = watcher.upgrade() else { return };
        if shared.let_go(id) {
            shared.telemetry.lost.increment(1);
            tracing::warn!(pool = %shared.name, connection = %id, why = %why, "connection lost");
        }
        let accepted = shared.closed(id);
        if !accepted && born.elapsed() < shared.config.ping_interval() {
            // Opened only to be closed again, or to be refused: as good as not opened, and not to be repeated at once.
            shared.failures.fetch_add(1, Ordering::Relaxed);
            shared.set_failure(Some(why));
        }
    });
    Ok(())
}
