//! The pages that anybody may read: the description, and its explanation.
use watchbell::store::Policy;

use super::support::Served;
use crate::store_support::{Kind, Place};
use crate::support::process::watchbell;

/// The description that is served is the one that the command prints, and needs no sign-in.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_served_and_printed() {
    let (_place, policy) = Place::open(Kind::Sqlite).await;
    let served = Served::new(policy).await;
    let answer = served.call("GET", "/openapi.json").answer().await;
    assert_eq!((answer.status, &answer.body), (200, &served.document));
    let printed = tokio::task::block_in_place(|| watchbell(&["openapi"]));
    assert!(printed.status.success());
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&printed.stdout).unwrap(), answer.body);
}

/// The page loads its own style sheet and nothing else, and its policy would let nothing else in.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_from_elsewhere() {
    let (_place, policy): (_, Policy) = Place::open(Kind::Sqlite).await;
    let served = Served::new(policy).await;
    let page = served.call("GET", "/docs").answer().await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'self'") && !policy.contains("unsafe"), "{policy}");
    for link in page.text.split("href=\"/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert_eq!(served.call("GET", &format!("/{link}")).status().await, 200, "{link}");
    }
    let style = served.call("GET", "/docs/style.css").answer().await;
    assert!(style.header("content-type").starts_with("text/css") && !style.text.contains("url("));
    let lead = served.call("GET", "/").answer().await;
    assert_eq!((lead.status, lead.header("location")), (307, "/docs"));
}
