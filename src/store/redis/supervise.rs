//! Keeps one session alive: connects, watches, and connects again.
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redis::{Client, pipe};

use super::connect::{Refused, connect};
use super::copy::Keys;
use super::{Link, Session};
use crate::store::database::Database;
use crate::store::error::{OpenError, told};
use crate::store::{schema, telemetry};

/// Between two attempts to connect: short against a TTL, long against what a Redis that starts needs.
const RETRY: Duration = Duration::from_millis(500);
/// Between two questions to a Redis that nobody else asks: a connection that died silently is found before a TTL is over.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats between two looks at the store's incarnation.
const HEARTBEATS_PER_LOOK: u32 = 60;

/// Makes the first attempt here, so that a Redis that must not be used is refused at the start, and goes on in a task.
pub(super) async fn start(
    client: Client,
    database: Arc<Database>,
    link: &Arc<Link>,
) -> Result<tokio::task::JoinHandle<()>, OpenError> {
    let unreachable = |error: sqlx::Error| OpenError::Unreachable(told(&error));
    let incarnation = schema::incarnation(&database).await.map_err(unreachable)?;
    let first = match connect(&client, link, Keys::new(&incarnation)).await {
        Ok(session) => Some(session),
        Err(Refused::Unfit(why)) => return Err(OpenError::Redis(why)),
        Err(Refused::Unreachable(why)) => {
            telemetry::redis_absent(&why);
            None
        }
    };
    if let Some(session) = first {
        install(link, session).await;
    }
    Ok(tokio::spawn(supervise(client, database, Arc::clone(link), incarnation)))
}

async fn supervise(client: Client, database: Arc<Database>, link: Arc<Link>, mut incarnation: String) {
    loop {
        if let Some(session) = link.session() {
            watch(&link, &session, &database, &mut incarnation).await;
        }
        tokio::time::sleep(RETRY).await;
        renew(&database, &link, &mut incarnation).await;
        match connect(&client, &link, Keys::new(&incarnation)).await {
            Ok(session) => install(&link, session).await,
            Err(Refused::Unfit(why)) => telemetry::redis_unfit(&why),
            Err(Refused::Unreachable(why)) => telemetry::redis_still_absent(&why),
        }
    }
}

/// Puts a session into use. Its tracking has just begun: what changed before is not known.
async fn install(link: &Arc<Link>, session: Session) {
    // Its time must be known before anything is written.
    let mut time = pipe();
    time.cmd("TIME");
    if link.exchange(&session, &time).await.is_none() {
        return;
    }
    *link.session.write().unwrap_or_else(PoisonError::into_inner) = Some(session);
    // In this order: a read that begins after the doubt sees the session, and is tracked.
    link.caches.doubt_everything();
    telemetry::redis_in_use();
}

/// Returns when the session has ended.
async fn watch(link: &Arc<Link>, session: &Session, database: &Database, incarnation: &mut String) {
    let mut beats = 0;
    let mut time = pipe();
    time.cmd("TIME");
    loop {
        tokio::select! {
            () = link.ended.notified() => {}
            () = tokio::time::sleep(HEARTBEAT) => {
                link.exchange(session, &time).await;
                beats += 1;
                if beats % HEARTBEATS_PER_LOOK == 0 && renew(database, link, incarnation).await {
                    link.fail(session.id, "the store was restored from a backup");
                }
            }
        }
        if link.session().is_none_or(|current| current.id != session.id) {
            return;
        }
    }
}

/// Looks whether the store has a new name. Then nothing that is held means anything.
async fn renew(database: &Database, link: &Link, incarnation: &mut String) -> bool {
    match schema::incarnation(database).await {
        Ok(current) if current != *incarnation => {
            *incarnation = current;
            link.caches.forget_everything();
            true
        }
        Ok(_) | Err(_) => false,
    }
}
