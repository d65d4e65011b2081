//! One Firebase project: its pool, its access token, its apps.
use std::sync::Arc;
use std::time::Instant;

use http::uri::PathAndQuery;

use super::access::{Access, AccessTokens};
use super::classify::classify;
use super::payload::encode;
use crate::allowance::Allowance;
use crate::delivery::{Outcome, Push};
use crate::provider::answer;
use crate::provider::http2::{Answer, Pool, Request, SendError};
use crate::provider::standing::Standing;
use crate::seam::{Clock, CredentialId, Wanted};

/// Google's answer to one request.
type Sent = Result<Answer, SendError>;

/// The client of one project.
pub(in crate::provider) struct Client {
    pub(in crate::provider) credential: CredentialId,
    pub(in crate::provider) pool: Pool,
    access: Arc<AccessTokens>,
    path: PathAndQuery,
    /// By the app's position.
    standings: Box<[Standing]>,
    lines: Allowance,
    clock: Arc<dyn Clock>,
}

impl Client {
    pub(super) fn new(
        credential: CredentialId,
        pool: Pool,
        access: Arc<AccessTokens>,
        path: PathAndQuery,
        apps: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let standings = (0..apps).map(|_| Standing::default()).collect();
        Self { credential, pool, access, path, standings, lines: Allowance::one_line_a_minute(), clock }
    }

    /// Sends one push of the app at that position. Only a refused access token is met with a second try; whatever else fails waits in
    /// a tier, because Google wants senders to wait for ten seconds at least.
    pub(in crate::provider) async fn push(
        &self,
        app: usize,
        push: &Push<'_>,
        deadline: Instant,
        wanted: Wanted<'_>,
    ) -> Outcome {
        let access = match self.access.current() {
            Some(access) => access,
            None => match Box::pin(self.access.obtain(deadline)).await {
                Ok(access) => access,
                Err(outcome) => return self.report(outcome),
            },
        };
        let settling = {
            // Gone before the next await: a push in flight needs no room for it.
            let sent = self.pool.send(|| wanted().then(|| self.request(&access, push)), deadline).await;
            if answer::is_ok(&sent) {
                return self.accepted(app);
            }
            Box::pin(self.settle(app, push, deadline, wanted, sent, access))
        };
        settling.await
    }

    fn request(&self, access: &Access, push: &Push<'_>) -> Request {
        let body = encode(push, self.clock.now());
        Request { path: self.path.clone(), headers: access.headers.clone(), body }
    }

    fn accepted(&self, app: usize) -> Outcome {
        self.standings[app].accepted();
        Outcome::Accepted
    }

    async fn settle(
        &self,
        app: usize,
        push: &Push<'_>,
        deadline: Instant,
        wanted: Wanted<'_>,
        first: Sent,
        used: Arc<Access>,
    ) -> Outcome {
        let (outcome, refresh) = self.judge(app, &first);
        if !refresh {
            return self.report(outcome);
        }
        let access = match self.access.replace(&used, deadline).await {
            Ok(access) => access,
            Err(failed) => return self.report(failed.after(&outcome)),
        };
        let second = self.pool.send(|| wanted().then(|| self.request(&access, push)), deadline).await;
        match second {
            Ok(answer) if answer.status == http::StatusCode::OK => self.accepted(app),
            Ok(_) | Err(_) => self.report(self.judge(app, &second).0.after(&outcome)),
        }
    }

    /// What an answer that is not 200 means, and whether a new access token may help.
    fn judge(&self, app: usize, sent: &Sent) -> (Outcome, bool) {
        match sent {
            Ok(answer) => {
                let retry_after = answer::retry_after(&answer.headers, self.clock.now());
                let ruling = classify(answer.status.as_u16(), &answer.body, retry_after, &self.standings[app]);
                (ruling.outcome, ruling.refresh)
            }
            Err(error) => (answer::unanswered(error), false),
        }
    }

    /// A misconfiguration is for people.
    fn report(&self, outcome: Outcome) -> Outcome {
        if let Outcome::Misconfigured { reason } = &outcome
            && self.lines.take(self.clock.instant())
        {
            tracing::error!(
                credential = %self.credential, project = %self.access.project_id(), %reason,
                "Google refuses this credential; check its service account, the project, its permissions and its apps",
            );
        }
        outcome
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("credential", &self.credential).field("pool", &self.pool).finish_non_exhaustive()
    }
}
