//! The wave detector: when too many tokens of one app turn dead at once, the mistake is ours (wrong environment, wrong topic, another
//! project), and removing them would cut people off.
//!
//! Counted per app in windows of fixed length. Once a window's dead tokens pass both bounds, removal for that app stops until a window
//! ends below them; each job still ends as `token_invalid`. It deliberately undoes nothing that was removed before.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When dead tokens are too many to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaveConfig {
    /// Length of a window.
    pub window: Duration,
    /// Fewer dead tokens than this in a window are always believed.
    pub dead_min: u32,
    /// More than this share of a window's answers, in percent, is not.
    pub dead_percent: u32,
}

impl Default for WaveConfig {
    /// Ordinary churn is far below one percent in ten minutes; twenty tokens are a small app's whole day.
    fn default() -> Self {
        Self { window: Duration::from_secs(600), dead_min: 20, dead_percent: 5 }
    }
}

#[derive(Debug)]
struct App {
    name: Box<str>,
    began: Instant,
    answers: u32,
    dead: u32,
    stopped: bool,
}

/// The apps of one process; there are few, so a list is searched.
#[derive(Debug)]
pub(super) struct Waves {
    config: WaveConfig,
    apps: Mutex<Vec<App>>,
}

impl Waves {
    pub(super) const fn new(config: WaveConfig) -> Self {
        Self { config, apps: Mutex::new(Vec::new()) }
    }

    /// An app's token was accepted.
    pub(super) fn accepted(&self, app: &str, now: Instant) {
        self.count(app, false, now);
    }

    /// An app's token is said to be dead. Returns whether it may be removed.
    pub(super) fn dead(&self, app: &str, now: Instant) -> bool {
        self.count(app, true, now)
    }

    fn count(&self, app: &str, dead: bool, now: Instant) -> bool {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let at = apps.iter().position(|known| &*known.name == app).unwrap_or_else(|| {
            apps.push(App { name: app.into(), began: now, answers: 0, dead: 0, stopped: false });
            apps.len() - 1
        });
        let entry = &mut apps[at];
        if now.saturating_duration_since(entry.began) >= self.config.window {
            let was = entry.stopped;
            entry.stopped = was && self.is_wave(entry);
            if was && !entry.stopped {
                report(&entry.name, false);
            }
            (entry.began, entry.answers, entry.dead) = (now, 0, 0);
        }
        entry.answers += 1;
        entry.dead += u32::from(dead);
        if dead && !entry.stopped && self.is_wave(entry) {
            entry.stopped = true;
            report(&entry.name, true);
        }
        !entry.stopped
    }

    fn is_wave(&self, app: &App) -> bool {
        let share = u64::from(app.dead) * 100 > u64::from(app.answers) * u64::from(self.config.dead_percent);
        app.dead >= self.config.dead_min && share
    }
}

fn report(app: &str, stopped: bool) {
    metrics::gauge!("watchbell_token_removal_stopped", "app" => app.to_owned()).set(f64::from(u8::from(stopped)));
    if stopped {
        tracing::error!(app, "a wave of dead tokens: removal stopped; check the app's environment, topic and project");
    } else {
        tracing::info!(app, "the wave of dead tokens is over: removal goes on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waves() -> Waves {
        Waves::new(WaveConfig { window: Duration::from_secs(600), dead_min: 5, dead_percent: 10 })
    }

    /// Ordinary churn is removed: few dead tokens, or many among very many answers.
    #[test]
    fn churn_is_believed() {
        let (waves, now) = (waves(), Instant::now());
        assert!((0..4).all(|_| waves.dead("app", now)));
        let waves = self::waves();
        (0..1000).for_each(|_| waves.accepted("app", now));
        assert!((0..50).all(|_| waves.dead("app", now)));
    }

    /// A wave stops removal for its own app only, and a quiet window lets it go on.
    #[test]
    fn wave_stops_one_app() {
        let (waves, now) = (waves(), Instant::now());
        assert!((0..4).all(|_| waves.dead("wrong", now)));
        assert!(!waves.dead("wrong", now));
        assert!(!waves.dead("wrong", now));
        assert!(waves.dead("other", now));
        let next = now + Duration::from_secs(600);
        waves.accepted("wrong", next);
        assert!(!waves.dead("wrong", next), "the window that ended was a wave");
        let later = next + Duration::from_secs(600);
        assert!(waves.dead("wrong", later), "the window that ended was quiet");
    }
}
