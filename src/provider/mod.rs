//! The push providers: one folder each, and the HTTP/2 connection pool that they share.
//!
//! The point: [`Providers`] routes each device to the one credential that serves its app and environment, and says what became of the
//! push as data. Several apps, environments, teams and projects live side by side; each credential has connections of its own.
//! It deliberately counts nothing and retries nothing but what a provider's client may resend at once.
//! It fails at start only, with every problem of every credential at once.
mod answer;
pub mod apns;
pub mod fcm;
#[cfg(test)]
mod fixtures;
pub mod http2;
mod json;
mod limits;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use crate::allowance::Allowance;
use crate::delivery::{Outcome, Push, Reason};
use crate::policy::{DeviceView, Environment, Platform};
use crate::seam::{Clock, CredentialId, PushProvider, Wanted};
use crate::settings::Problems;
use apns::config::ApnsConfig;
use fcm::config::FcmConfig;
use http2::{Pool, PoolConfig, PoolStats};

/// All credentials, and which of them serves which app.
#[derive(Debug)]
pub struct Providers {
    apns: Vec<apns::Client>,
    fcm: Vec<fcm::Client>,
    /// Apple's apps by environment.
    production: Routes,
    sandbox: Routes,
    /// Google's apps.
    android: Routes,
    /// Lines about apps that no credential serves.
    lines: Allowance,
}

/// An app → its credential's position, and its own position within the credential.
type Routes = HashMap<Box<str>, (usize, usize)>;

/// Where a device's push goes.
enum Route<'p> {
    Apns(&'p apns::Client, usize),
    Fcm(&'p fcm::Client, usize),
}

/// The credentials in config, by name.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'c> {
    /// Sections `[apns.<name>]`.
    pub apns: &'c BTreeMap<String, ApnsConfig>,
    /// Sections `[fcm.<name>]`.
    pub fcm: &'c BTreeMap<String, FcmConfig>,
}

struct Prepared {
    apns: Vec<(CredentialId, apns::Prepared)>,
    fcm: Vec<(CredentialId, fcm::Prepared)>,
}

impl Providers {
    /// Reads all keys and accounts, and connects in the background. Needs a tokio runtime.
    pub fn new(credentials: Credentials<'_>, pool: &PoolConfig, clock: Arc<dyn Clock>) -> Result<Self, Problems> {
        let prepared = prepare(credentials, &clock)?;
        let open = |(name, prepared): (CredentialId, apns::Prepared)| prepared.open(name, pool, Arc::clone(&clock));
        let apns = prepared.apns.into_iter().map(open).collect();
        let open = |(name, prepared): (CredentialId, fcm::Prepared)| prepared.open(name, pool, Arc::clone(&clock));
        let fcm = prepared.fcm.into_iter().map(open).collect();
        let of = |environment| {
            routes(credentials.apns.values().map(|config| match config.environment == environment {
                true => config.apps.as_slice(),
                false => &[],
            }))
        };
        let (production, sandbox) = (of(Environment::Production), of(Environment::Sandbox));
        let android = routes(credentials.fcm.values().map(|config| config.apps.as_slice()));
        let lines = Allowance::one_line_a_minute();
        Ok(Self { apns, fcm, production, sandbox, android, lines })
    }

    /// What [`Providers::new`] would refuse; connects nowhere.
    pub fn check(credentials: Credentials<'_>, clock: Arc<dyn Clock>) -> Problems {
        prepare(credentials, &clock).err().unwrap_or_default()
    }

    /// The connections of every credential, of the moment.
    pub fn stats(&self) -> impl Iterator<Item = (&CredentialId, PoolStats)> {
        self.pools().map(|(credential, pool)| (credential, pool.stats()))
    }

    /// Takes no more pushes and waits for those in flight: bounded by the pool's request timeout.
    pub async fn close(&self) {
        join_all(self.pools().map(|(_, pool)| pool.close())).await;
    }

    fn pools(&self) -> impl Iterator<Item = (&CredentialId, &Pool)> {
        let apns = self.apns.iter().map(|client| (&client.credential, &client.pool));
        apns.chain(self.fcm.iter().map(|client| (&client.credential, &client.pool)))
    }

    fn route(&self, device: &DeviceView<'_>) -> Option<Route<'_>> {
        match (device.platform(), device.environment()) {
            (Platform::Apns, Environment::Production) => self.apple(&self.production, device),
            (Platform::Apns, Environment::Sandbox) => self.apple(&self.sandbox, device),
            // Google has one world.
            (Platform::Fcm, Environment::Production | Environment::Sandbox) => {
                let (client, app) = self.android.get(device.app())?;
                Some(Route::Fcm(&self.fcm[*client], *app))
            }
        }
    }

    fn report_unserved(&self, device: &DeviceView<'_>) {
        if !self.lines.take(Instant::now()) {
            return;
        }
        let app = device.app();
        match device.platform() {
            Platform::Apns => tracing::error!(
                app,
                environment = device.environment().name(),
                "no credential serves this app, whose jobs wait: add it to the apps of an [apns.<name>] of this environment",
            ),
            Platform::Fcm => tracing::error!(
                app,
                "no credential serves this app, whose jobs wait: add it to the apps of an [fcm.<name>]",
            ),
        }
    }

    fn apple<'p>(&'p self, routes: &Routes, device: &DeviceView<'_>) -> Option<Route<'p>> {
        let (client, app) = routes.get(device.app())?;
        Some(Route::Apns(&self.apns[*client], *app))
    }
}

impl PushProvider for Providers {
    fn credential(&self, device: &DeviceView<'_>) -> Option<&CredentialId> {
        match self.route(device) {
            Some(Route::Apns(client, _)) => Some(&client.credential),
            Some(Route::Fcm(client, _)) => Some(&client.credential),
            None => {
                self.report_unserved(device);
                None
            }
        }
    }

    async fn push<'a>(&'a self, push: &'a Push<'a>, deadline: Instant, wanted: Wanted<'a>) -> Outcome {
        match self.route(push.device) {
            Some(Route::Apns(client, app)) => client.push(app, push, deadline, wanted).await,
            Some(Route::Fcm(client, app)) => client.push(app, push, deadline, wanted).await,
            None => Outcome::Misconfigured { reason: Reason::known("no_credential") },
        }
    }
}

fn prepare(credentials: Credentials<'_>, clock: &Arc<dyn Clock>) -> Result<Prepared, Problems> {
    let mut problems = Problems::default();
    let mut prepared = Prepared { apns: Vec::new(), fcm: Vec::new() };
    for (name, config) in credentials.apns {
        let name = format!("apns.{name}");
        match apns::Prepared::new(config, &**clock) {
            Ok(ready) => prepared.apns.push((name.into(), ready)),
            Err(inner) => problems.nest(&name, inner),
        }
    }
    for (name, config) in credentials.fcm {
        let name = format!("fcm.{name}");
        match fcm::Prepared::new(config, clock) {
            Ok(ready) => prepared.fcm.push((name.into(), ready)),
            Err(inner) => problems.nest(&name, inner),
        }
    }
    if problems.is_empty() { Ok(prepared) } else { Err(problems) }
}

/// Each app's route. Where two credentials name one app, the first serves it; the configuration refuses that before.
fn routes<'c>(credentials: impl Iterator<Item = &'c [String]>) -> Routes {
    let mut routes = Routes::new();
    for (client, apps) in credentials.enumerate() {
        for (app, name) in apps.iter().enumerate() {
            routes.entry(name.as_str().into()).or_insert((client, app));
        }
    }
    routes
}
