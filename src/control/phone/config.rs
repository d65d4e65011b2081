//! Section `[api.devices]`: what phones' proofs are made for, and how a phone becomes one that may approve.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::people::enrolment::{EnrolmentRules, Way};
use crate::settings::{Problems, is_http_url, is_https_url};

/// Section `[api.devices]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DevicesConfig {
    /// The API's address as phones know it, without a slash at its end: what their proofs and statements are made for.
    pub public_url: String,
    /// Seconds that a proof's time may be from now, either way.
    pub proof_window_s: u32,
    /// The ways in which a phone becomes one that may approve.
    pub approver_ways: Vec<Way>,
    /// Devices of one person, at most.
    pub devices_max: u32,
    /// Seconds after which a sign-in makes no approver any more.
    pub sign_in_max_age_s: u32,
    /// Milliseconds that an answer waits for the broker's acknowledgement before it is told as recorded.
    pub answer_wait_ms: u32,
}

impl DevicesConfig {
    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let right = is_http_url(&self.public_url)
            && !self.public_url.ends_with('/')
            && !self.public_url.contains(['?', '#', '@']);
        problems.require(
            right,
            "public_url must be the API's address as phones know it, such as https://watchbell.example.com, without a slash at its end",
        );
        problems.require(
            !right || is_https_url(&self.public_url) || is_loopback(&self.public_url),
            "public_url must be https: what phones sign, and whose they are, would travel in the clear; http is for this machine alone, such as http://localhost:8081",
        );
        problems.require((10..=600).contains(&self.proof_window_s), "proof_window_s must be between 10 and 600");
        problems.require(self.devices_max <= 255, "devices_max must be at most 255");
        problems
            .require((1..=86_400).contains(&self.sign_in_max_age_s), "sign_in_max_age_s must be between 1 and 86400");
        problems.require(self.answer_wait_ms <= 10_000, "answer_wait_ms must be at most 10000");
        self.rules().problems().into_iter().for_each(|problem| problems.add(problem));
        problems
    }

    /// What the rules of enrolment take of it.
    pub fn rules(&self) -> EnrolmentRules {
        EnrolmentRules {
            ways: self.approver_ways.clone(),
            devices_max: self.devices_max,
            sign_in_max_age: Duration::from_secs(self.sign_in_max_age_s.into()),
        }
    }

    /// [`Self::proof_window_s`].
    pub fn proof_window(&self) -> Duration {
        Duration::from_secs(self.proof_window_s.into())
    }

    /// [`Self::answer_wait_ms`].
    pub fn answer_wait(&self) -> Duration {
        Duration::from_millis(self.answer_wait_ms.into())
    }
}

/// Whether its host is this machine.
fn is_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<axum::http::Uri>() else { return false };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_that_cannot_work_is_told() {
        // What nobody could approve with, no phone could reach or no proof could obey is told by its key; what is shipped is right.
        let shipped = crate::config::Config::load(None, []).unwrap().api.devices;
        assert!(shipped.problems().is_empty());
        assert_eq!(shipped.answer_wait(), Duration::from_secs(3), "what an app has to wait for");
        type Change = fn(&mut DevicesConfig);
        let rows: [(Change, &str); 10] = [
            (|devices| devices.public_url = "watchbell.example.com".into(), "public_url must"),
            (|devices| devices.public_url += "/", "public_url must"),
            (|devices| devices.public_url = "http://watchbell.example.com".into(), "public_url must be https"),
            (|devices| devices.public_url = "http://127.0.0.1.example.com".into(), "public_url must be https"),
            (|devices| devices.proof_window_s = 9, "proof_window_s must"),
            (|devices| devices.approver_ways.clear(), "approver_ways is empty"),
            (|devices| devices.devices_max = 0, "devices_max is 0"),
            (|devices| devices.devices_max = 256, "devices_max must"),
            (|devices| devices.sign_in_max_age_s = 0, "sign_in_max_age_s must"),
            (|devices| devices.answer_wait_ms = 10_001, "answer_wait_ms must"),
        ];
        for (change, beginning) in rows {
            let mut devices = shipped.clone();
            change(&mut devices);
            let told: Vec<_> = devices.problems().into_iter().collect();
            assert!(told.len() == 1 && told[0].starts_with(beginning), "{beginning}: {told:?}");
        }
        for url in ["http://127.0.0.1:8081", "http://[::1]:8081", "http://LOCALHOST", "https://watchbell.example.com"] {
            let devices = DevicesConfig { public_url: url.into(), ..shipped.clone() };
            assert!(devices.problems().is_empty(), "{url}");
        }
    }
}
