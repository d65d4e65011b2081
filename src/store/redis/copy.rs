//! Names and bytes of what Redis holds. Everybody who reads or writes it is another process of this program, perhaps of another version:
//! the layout's number is part of each key, so that two layouts never meet.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::NotificationType;
use crate::policy::{Detail, Setting, UserEntry, Workspace};
use crate::store::read::{EventKey, UserKey};

/// Raised with every change of a value's bytes, the packed user entry's included.
const LAYOUT: u32 = 2;

/// Moment of the read (8 bytes) and version (8), big-endian, before the payload. `script.lua` writes them.
const HEAD_BYTES: usize = 16;

/// The keys of one store in one of its lives.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: Arc<str>,
}

/// Whose copy changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Workspace(&'a str),
    User { workspace: &'a str, user: &'a str },
}

impl Keys {
    pub(super) fn new(incarnation: &str) -> Self {
        Self { prefix: format!("watchbell:{LAYOUT}:{incarnation}:").into() }
    }

    pub(super) fn workspace(&self, workspace: &str) -> String {
        format!("{}ws:{workspace}", self.prefix)
    }

    /// The length tells where the workspace ends: an id may contain colons.
    pub(super) fn user(&self, key: &UserKey) -> String {
        let workspace = key.workspace.as_str();
        format!("{}user:{}:{workspace}:{}", self.prefix, workspace.len(), key.user)
    }

    pub(super) fn closed(&self, key: &EventKey) -> String {
        let workspace = key.workspace.as_str();
        format!("{}closed:{}:{workspace}:{}:{}", self.prefix, workspace.len(), key.kind.name(), key.event)
    }

    /// A person's fatigue guard.
    pub(super) fn guard(&self, workspace: &str, user: &str) -> String {
        format!("{}guard:{}:{workspace}:{user}", self.prefix, workspace.len())
    }

    /// Whose key it is; `None` for a withdrawal's and a guard's, which are not cached in process, and for another store's.
    pub(super) fn named<'a>(&self, key: &'a str) -> Option<Named<'a>> {
        let (kind, ids) = key.strip_prefix(&*self.prefix)?.split_once(':')?;
        match kind {
            "ws" => Some(Named::Workspace(ids)),
            "user" => {
                let (length, ids) = ids.split_once(':')?;
                let (workspace, user) = ids.split_at_checked(length.parse().ok()?)?;
                Some(Named::User { workspace, user: user.strip_prefix(':')? })
            }
            _ => None,
        }
    }
}

/// A value as Redis holds it.
pub(super) struct Held<'a> {
    /// The moment of its read at the store, in ms by Redis's clock.
    pub(super) read_at: i64,
    payload: &'a [u8],
}

impl<'a> Held<'a> {
    /// `None` for bytes that are none: a miss.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, payload) = bytes.split_at_checked(HEAD_BYTES)?;
        Some(Self { read_at: i64::from_be_bytes(head[..8].try_into().ok()?), payload })
    }

    pub(super) fn user(&self) -> Option<UserEntry> {
        UserEntry::from_bytes(self.payload).ok()
    }

    pub(super) fn workspace(&self) -> Option<Arc<Workspace>> {
        let copy: WorkspaceCopy = serde_json::from_slice(self.payload).ok()?;
        let WorkspaceCopy { version, display_name, detail, settings } = copy;
        Some(Arc::new(Workspace { version, display_name, detail, settings }))
    }
}

#[derive(Serialize, Deserialize)]
struct WorkspaceCopy {
    version: u64,
    display_name: String,
    detail: Detail,
    settings: [Setting; NotificationType::COUNT],
}

/// The payload of a workspace.
pub(super) fn workspace_payload(workspace: &Workspace) -> Vec<u8> {
    let Workspace { version, display_name, detail, settings } = workspace;
    let copy =
        WorkspaceCopy { version: *version, display_name: display_name.clone(), detail: *detail, settings: *settings };
    // Numbers, texts and closed sets: there is nothing in it that JSON cannot say.
    serde_json::to_vec(&copy).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, UserId, WorkspaceId};

    /// A key says whose copy it is, whatever bytes the ids have; keys of other stores and of withdrawals say nothing.
    #[test]
    fn keys_name_their_owner() {
        let keys = Keys::new("0123");
        let (workspace, user) = (WorkspaceId::new("a:b{c}").unwrap(), UserId::new("auth0|x:y").unwrap());
        let of_user = keys.user(&UserKey { workspace: workspace.clone(), user });
        assert_eq!(of_user, "watchbell:2:0123:user:6:a:b{c}:auth0|x:y");
        assert_eq!(keys.named(&of_user), Some(Named::User { workspace: "a:b{c}", user: "auth0|x:y" }));
        assert_eq!(keys.named(&keys.workspace("a:b{c}")), Some(Named::Workspace("a:b{c}")));
        let event = EventId::new("e").unwrap();
        assert_eq!(keys.named(&keys.closed(&EventKey { workspace, kind: NotificationType::OtpReceived, event })), None);
        assert_eq!(keys.named(&keys.guard("a:b{c}", "auth0|x:y")), None);
        assert_eq!(Keys::new("4567").named(&of_user), None);
        assert_eq!(keys.named("watchbell:2:0123:user:99:a:b"), None);
    }

    /// A workspace's payload is read back as it was; bytes that are no value are a miss.
    #[test]
    fn payload_round_trip() {
        let workspace =
            Workspace { version: 7, display_name: "Acme".into(), detail: Detail::Full, ..Workspace::unknown() };
        let mut bytes = [5_i64.to_be_bytes(), 7_i64.to_be_bytes()].concat();
        bytes.extend(workspace_payload(&workspace));
        let held = Held::parse(&bytes).unwrap();
        assert_eq!((held.read_at, held.workspace().as_deref()), (5, Some(&workspace)));
        assert!(held.user().is_none() && Held::parse(&bytes[..15]).is_none());
    }
}
