//! The endpoints: one file for each thing that people work on. What each answers is described where it stands.
mod audit;
mod erasure;
mod me;
mod preferences;
mod requests;
mod settings;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Member;
use super::state::Api;
use crate::people::{Actor, ActorRole, Person};

/// All of them, with their descriptions.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(me::me))
        .routes(routes!(settings::settings))
        .routes(routes!(settings::change_setting))
        .routes(routes!(audit::audit_trail))
        .routes(routes!(preferences::preferences))
        .routes(routes!(preferences::change_preference))
        .routes(routes!(preferences::turn_off_all))
        .routes(routes!(preferences::quiet_device))
        .routes(routes!(requests::pending))
        .routes(routes!(requests::request))
        .routes(routes!(requests::recent))
        .routes(routes!(requests::activity))
        .routes(routes!(erasure::erase))
}

/// Who calls, as the store knows people.
fn person(member: &Member) -> Person {
    Person { workspace: member.workspace.clone(), user: member.user.clone() }
}

/// Who calls, as the audit trail knows who acts.
fn actor(member: &Member) -> Actor {
    Actor { id: member.user.clone(), role: ActorRole::Of(member.role) }
}
