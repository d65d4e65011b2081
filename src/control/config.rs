//! Section `[api]`: where the HTTP API listens, and what it lets through.
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::phone::config::DevicesConfig;
use crate::settings::{Problems, is_http_url};

/// Section `[api]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Where the API is served, without TLS: `address:port`.
    pub http_listen: String,
    /// Where `/livez`, `/readyz` and `/metrics` are served: `address:port`.
    pub telemetry_listen: String,
    /// Origins of web pages that may call the API from a browser.
    pub cors_origins: Vec<String>,
    /// Largest body of a request, in bytes.
    pub body_bytes_max: u32,
    /// Milliseconds after which a request is answered 503 that has no answer yet.
    pub request_timeout_ms: u32,
    /// Requests that are answered at once; more are refused.
    pub in_flight_max: u32,
    /// Requests that one session, or one phone, may make in a minute, at each process.
    pub requests_per_minute: u32,
    /// Of these, how many may come at once.
    pub requests_burst: u32,
    /// Calls in the name of phones that did not prove to be them which are looked at in a minute, at each process.
    pub unproved_per_minute: u32,
    /// Tests that one person may send to themselves within an hour; 0: none.
    pub tests_per_hour: u32,
    /// Milliseconds that requests in flight may take to end after SIGTERM.
    pub drain_deadline_ms: u32,
    /// Phones: their proofs, and how they become ones that may approve.
    pub devices: DevicesConfig,
}

impl ApiConfig {
    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        for (key, address) in [("http_listen", &self.http_listen), ("telemetry_listen", &self.telemetry_listen)] {
            if address.parse::<SocketAddr>().is_err() {
                problems.add(format!("{key} must be address:port, for example 0.0.0.0:8081 or [::]:8081"));
            }
        }
        let listen = self.http_listen.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
        let same = listen.is_some() && listen == self.telemetry_listen.parse().ok();
        problems.require(!same, "telemetry_listen must be another address than http_listen: it has no sign-in");
        for origin in &self.cors_origins {
            if !is_origin(origin) {
                problems.add(
                    "cors_origins must be origins as browsers send them: https://console.example.com, without a path or *",
                );
            }
        }
        problems.require(
            (1_024..=1_048_576).contains(&self.body_bytes_max),
            "body_bytes_max must be between 1024 and 1048576",
        );
        problems.require(
            (100..=60_000).contains(&self.request_timeout_ms),
            "request_timeout_ms must be between 100 and 60000",
        );
        problems.require((1..=10_000).contains(&self.in_flight_max), "in_flight_max must be between 1 and 10000");
        problems.require(
            (1..=60_000).contains(&self.requests_per_minute),
            "requests_per_minute must be between 1 and 60000",
        );
        problems.require((1..=10_000).contains(&self.requests_burst), "requests_burst must be between 1 and 10000");
        problems.require(
            (1..=600_000).contains(&self.unproved_per_minute),
            "unproved_per_minute must be between 1 and 600000",
        );
        problems.require(self.tests_per_hour <= 1_000, "tests_per_hour must be at most 1000");
        problems.nest("devices", self.devices.problems());
        problems.require(self.drain_deadline_ms <= 300_000, "drain_deadline_ms must be at most 300000");
        problems
    }

    /// [`Self::request_timeout_ms`].
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms.into())
    }

    /// [`Self::drain_deadline_ms`].
    pub fn drain_deadline(&self) -> Duration {
        Duration::from_millis(self.drain_deadline_ms.into())
    }
}

/// RFC 6454 §6.2: scheme, host and perhaps a port, and nothing after it.
fn is_origin(text: &str) -> bool {
    is_http_url(text) && text.matches('/').count() == 2 && !text.contains(['?', '#', '@', '*'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl FnOnce(&mut ApiConfig)) -> String {
        let mut config = crate::config::Config::load(None, []).unwrap().api;
        change(&mut config);
        config.problems().into_iter().collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_section_that_cannot_work_is_told() {
        // Each number out of its range and each address that is none by its key; what is shipped is right.
        type Change = fn(&mut ApiConfig);
        let rows: [(Change, &str); 14] = [
            (|api| api.http_listen = "localhost".into(), "http_listen must"),
            (|api| api.telemetry_listen = "8082".into(), "telemetry_listen must be address:port"),
            (|api| api.telemetry_listen = api.http_listen.clone(), "telemetry_listen must be another"),
            (|api| api.cors_origins = vec!["*".into()], "cors_origins must"),
            (|api| api.cors_origins = vec!["https://a.example/".into()], "cors_origins must"),
            (|api| api.cors_origins = vec!["null".into()], "cors_origins must"),
            (|api| api.body_bytes_max = 1_023, "body_bytes_max must"),
            (|api| api.request_timeout_ms = 99, "request_timeout_ms must"),
            (|api| api.in_flight_max = 0, "in_flight_max must"),
            (|api| api.requests_per_minute = 0, "requests_per_minute must"),
            (|api| api.requests_burst = 0, "requests_burst must"),
            (|api| api.unproved_per_minute = 0, "unproved_per_minute must"),
            (|api| api.tests_per_hour = 1_001, "tests_per_hour must"),
            (|api| api.drain_deadline_ms = 300_001, "drain_deadline_ms must"),
        ];
        for (change, beginning) in rows {
            let told = told(change);
            assert!(told.starts_with(beginning), "{beginning}: {told}");
        }
        assert_eq!(told(|api| api.cors_origins = vec!["http://localhost:8081".into(), "https://a.example".into()]), "");
    }
}
