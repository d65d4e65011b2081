//! One credential of Apple's push service: its pool, its token, its apps.
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::classify::{Resend, Ruling, classify};
use super::headers::Headers;
use super::payload::encode;
use super::throttle::Throttle;
use crate::allowance::Allowance;
use crate::delivery::{Outcome, Push, Reach, Reason, RetryScope};
use crate::provider::answer;
use crate::provider::http2::{Answer, ConnectionId, Pool, Request, SendError, Unknown};
use crate::provider::standing::Standing;
use crate::seam::{Clock, CredentialId, Wanted};

/// With less time than this left nothing is sent once more: cut off, it would only be a likely duplicate.
const RESEND_TIME_MIN: Duration = Duration::from_secs(1);

/// Apple's answer to one request.
type Sent = Result<Answer, SendError>;

/// The client of one credential.
pub(in crate::provider) struct Client {
    pub(in crate::provider) credential: CredentialId,
    pub(in crate::provider) pool: Pool,
    headers: Headers,
    /// By the app's position.
    standings: Box<[Standing]>,
    throttle: Throttle,
    lines: Allowance,
    /// How often a connection may be given up because it refuses our token.
    condemnations: Allowance,
    clock: Arc<dyn Clock>,
}

impl Client {
    pub(super) fn new(
        credential: CredentialId,
        pool: Pool,
        headers: Headers,
        apps: usize,
        condemnations: Allowance,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let standings = (0..apps).map(|_| Standing::default()).collect();
        let (throttle, lines) = (Throttle::default(), Allowance::one_line_a_minute());
        Self { credential, pool, headers, standings, throttle, lines, condemnations, clock }
    }

    /// Sends one push of the app at that position.
    pub(in crate::provider) async fn push(
        &self,
        app: usize,
        push: &Push<'_>,
        deadline: Instant,
        wanted: Wanted<'_>,
    ) -> Outcome {
        let token = push.device.expose_token();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Outcome::Rejected { reason: Reason::known("token_not_hexadecimal") };
        }
        if !self.throttle.is_idle()
            && let Some(wait) = self.throttle.wait(token, self.clock.instant())
        {
            let reason = Reason::known("TooManyRequests");
            let (retry_after, scope) = (Some(wait), RetryScope::Device);
            return Outcome::Retryable { reason, retry_after, scope, reach: Reach::Unsent };
        }
        let settling = {
            // Gone before the next await: a push in flight needs no room for it.
            let sent = self.pool.send(|| wanted().then(|| self.request(app, push)), deadline).await;
            if answer::is_ok(&sent) {
                return self.accepted(app);
            }
            Box::pin(self.settle(app, push, deadline, wanted, sent))
        };
        settling.await
    }

    fn request(&self, app: usize, push: &Push<'_>) -> Request {
        let encoded = encode(push);
        let headers = self.headers.of(app, encoded.values, self.clock.now());
        Request { path: encoded.path, headers, body: encoded.body }
    }

    fn accepted(&self, app: usize) -> Outcome {
        self.standings[app].accepted();
        Outcome::Accepted
    }

    /// Everything but an acceptance at the first try. At most one resend, with the same ids, on another connection.
    async fn settle(&self, app: usize, push: &Push<'_>, deadline: Instant, wanted: Wanted<'_>, first: Sent) -> Outcome {
        let ruling = self.rule(app, push, &first);
        let Some(connection) = connection_of(&first) else { return ruling.outcome };
        let again = match ruling.resend {
            Resend::No => false,
            Resend::Elsewhere => true,
            Resend::Condemn => self.condemn(connection, &ruling.outcome),
        };
        if !again || deadline.saturating_duration_since(self.clock.instant()) < RESEND_TIME_MIN {
            self.report(&ruling.outcome, &first);
            return ruling.outcome;
        }
        let again = || wanted().then(|| self.request(app, push));
        let second = self.pool.send_avoiding(again, deadline, connection).await;
        match &second {
            Ok(answer) if answer.status == http::StatusCode::OK => self.accepted(app),
            Ok(answer) => {
                let again = self.rule(app, push, &second);
                if again.resend == Resend::Condemn {
                    self.condemn(answer.connection, &again.outcome);
                }
                self.report(&again.outcome, &second);
                again.outcome.after(&ruling.outcome)
            }
            // Nothing more was learnt than from the first.
            Err(SendError::NotProcessed(_) | SendError::Deadline) => ruling.outcome,
            Err(error @ SendError::Unknown { .. }) => answer::unanswered(error),
        }
    }

    /// Gives a connection up, unless too many refused our token within the minute: then it is the token, and opening one connection
    /// after the other would look like an attack.
    fn condemn(&self, connection: ConnectionId, outcome: &Outcome) -> bool {
        let is_token = matches!(outcome, Outcome::Misconfigured { .. });
        let granted = !is_token || self.condemnations.take(self.clock.instant());
        if granted {
            self.pool.condemn(connection, reason_of(outcome));
        }
        granted
    }

    fn rule(&self, app: usize, push: &Push<'_>, sent: &Sent) -> Ruling {
        match sent {
            Ok(answer) => {
                let retry_after = answer::retry_after(&answer.headers, self.clock.now());
                let ruling = classify(answer.status.as_u16(), &answer.body, retry_after, &self.standings[app]);
                if let Outcome::Retryable { scope: RetryScope::Device, retry_after: Some(wait), .. } = &ruling.outcome {
                    self.throttle.delay(push.device.expose_token(), *wait, self.clock.instant());
                }
                ruling
            }
            Err(error @ SendError::Unknown { cause: Unknown::Timeout, .. }) => {
                Ruling { outcome: answer::unanswered(error), resend: Resend::Elsewhere }
            }
            Err(error) => Ruling { outcome: answer::unanswered(error), resend: Resend::No },
        }
    }

    /// A misconfiguration is for people: it names the credential, and how far our clock is from Apple's, which is one of its causes.
    fn report(&self, outcome: &Outcome, sent: &Sent) {
        let (Outcome::Misconfigured { reason }, Ok(answer)) = (outcome, sent) else { return };
        if !self.lines.take(self.clock.instant()) {
            return;
        }
        let date = answer::date(&answer.headers);
        let skew_s = date.map(|date| (self.clock.now().as_millis() - date.as_millis()) / 1000);
        tracing::error!(
            credential = %self.credential, %reason, skew_s, status = answer.status.as_u16(),
            "Apple refuses this credential; check its key, team, apps and environment, and this machine's clock",
        );
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("credential", &self.credential).field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// The connection that carried a request, where it may have got through.
fn connection_of(sent: &Sent) -> Option<ConnectionId> {
    match sent {
        Ok(answer) => Some(answer.connection),
        Err(SendError::Unknown { connection, .. }) => Some(*connection),
        Err(SendError::NotProcessed(_) | SendError::Deadline) => None,
    }
}

fn reason_of(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::TokenInvalid { reason, .. }
        | Outcome::Rejected { reason }
        | Outcome::Retryable { reason, .. }
        | Outcome::Misconfigured { reason } => reason.as_str(),
    }
}
