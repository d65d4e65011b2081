//! What reads everybody, asked again and again: it takes no room from others, and is not counted anew each time.
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::{Connection as _, Executor as _};
use watchbell::people::Role;

use super::support::Served;
use crate::store_support::{AT, Kind, Place, person, until};
use crate::support::SOON;

const REACH: &str = "/v1/workspaces/acme/reach";

/// A workspace that takes long to count: one waits for its count for so long and is told to come again, others are answered meanwhile though
/// there is room for two only, and the count is there in the end. It is told for ten times as long as it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_polls_takes_no_room() {
    let (place, policy) = Place::open(Kind::Postgres).await;
    let served = Served::with(policy, |api| api.in_flight_max = 2).await;
    until("a first answer", SOON, async || (served.get("admin", "/v1/me").await.status == 200).then_some(())).await;
    let url = place.config.store_url.as_ref().unwrap().expose_secret();
    let mut other = sqlx::PgConnection::connect(url).await.unwrap();
    other.execute("BEGIN; LOCK TABLE enrolments IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..3 {
        let asked = served.get("admin", REACH).await;
        assert_eq!((asked.status, asked.problem(), asked.header("retry-after")), (503, "being-counted", "2"));
        assert_eq!(served.get("admin", "/v1/me").await.status, 200, "nobody's room is taken");
    }
    other.execute("COMMIT").await.unwrap();
    let counted = until("the count", SOON, async || {
        let answer = served.get("admin", REACH).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    served.policy.admin().note_role(&person("acme", "newcomer"), Role::User, AT).await.unwrap();
    let again = served.get("owner", REACH).await.body;
    assert_eq!(again, counted, "everybody is told the same until it is counted anew");
    assert!(again["counted_at"].is_string() && again["people"] != json!(0), "{again}");
}
