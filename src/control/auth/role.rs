//! Roles, and what each may do to whom: the whole table, pure.
//!
//! Whatever a role may not do in it, it may not do anywhere: endpoints ask [`may`] and decide nothing themselves.
pub use crate::people::Role;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the workspace's setting of each type.
    ReadSettings,
    /// Set a type to disabled, enabled or enforced.
    ChangeSettings,
    /// Read who changed what.
    ReadAudit,
    /// Read what happened to a person's notifications, without contents.
    ReadActivity,
    /// Read how many people a type reaches, and whom it does not.
    ReadReach,
    /// List the people whom the store knows, with their roles and how many devices they have.
    ListPeople,
    /// Read the effective state of each type, and switch one's own preferences.
    UsePreferences,
    /// List, rename, refresh and silence devices, register one that only receives, send a test.
    UseDevices,
    /// Read pending and recent requests and their details.
    ReadRequests,
    /// See what devices a person has, and remove one.
    RemoveDevice,
    /// Retire all devices of a person.
    ResetDevices,
    /// Make the ticket by which a new device becomes an approver.
    IssueTicket,
    /// Erase a person's data.
    EraseData,
    /// Hand out a person's data.
    ExportData,
    /// Make a device one that may approve.
    Enrol,
    /// Approve or deny a request.
    Answer,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::ReadSettings,
        Self::ChangeSettings,
        Self::ReadAudit,
        Self::ReadActivity,
        Self::ReadReach,
        Self::ListPeople,
        Self::UsePreferences,
        Self::UseDevices,
        Self::ReadRequests,
        Self::RemoveDevice,
        Self::ResetDevices,
        Self::IssueTicket,
        Self::EraseData,
        Self::ExportData,
        Self::Enrol,
        Self::Answer,
    ];

    /// For people, after "to".
    pub const fn words(self) -> &'static str {
        match self {
            Self::ReadSettings => "read the workspace's settings",
            Self::ChangeSettings => "change the workspace's settings",
            Self::ReadAudit => "read the audit trail",
            Self::ReadActivity => "read what happened to people's notifications",
            Self::ReadReach => "see whom notifications reach",
            Self::ListPeople => "list the workspace's people",
            Self::UsePreferences => "use these preferences",
            Self::UseDevices => "use these devices",
            Self::ReadRequests => "read these requests",
            Self::RemoveDevice => "remove this device",
            Self::ResetDevices => "reset these devices",
            Self::IssueTicket => "issue this ticket",
            Self::EraseData => "erase this data",
            Self::ExportData => "export this data",
            Self::Enrol => "enrol this device",
            Self::Answer => "answer this request",
        }
    }
}

/// To whom it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// To nobody in particular: the workspace as a whole.
    Workspace,
    /// To whoever asks.
    Oneself,
    /// To somebody else, who has this role.
    Another(Role),
}

impl Target {
    /// Somebody else, whose role is known as of their last sign-in, if they ever signed in: unknown counts as user.
    pub fn another(last_known: Option<Role>) -> Self {
        Self::Another(last_known.unwrap_or(Role::User))
    }
}

/// Whether `role` may do `action` to `target`, all in the same workspace.
pub fn may(role: Role, action: Action, target: Target) -> bool {
    match action {
        Action::ReadSettings
        | Action::ChangeSettings
        | Action::ReadAudit
        | Action::ReadActivity
        | Action::ReadReach
        | Action::ListPeople => role >= Role::Admin,
        Action::UsePreferences | Action::UseDevices | Action::ReadRequests => target == Target::Oneself,
        Action::RemoveDevice | Action::ResetDevices => target == Target::Oneself || outranks_for_devices(role, target),
        // For oneself it would let a stolen session enrol the thief's phone.
        Action::IssueTicket => outranks_for_devices(role, target),
        Action::EraseData | Action::ExportData => match target {
            Target::Oneself => true,
            Target::Another(other) => role == Role::Owner || role == Role::SuperAdmin && other != Role::Owner,
            Target::Workspace => false,
        },
        // Never for another, whoever asks.
        Action::Enrol | Action::Answer => target == Target::Oneself,
    }
}

/// Devices are their person's alone; what others may do about them depends on both roles.
fn outranks_for_devices(role: Role, target: Target) -> bool {
    match (role, target) {
        (_, Target::Workspace | Target::Oneself) | (Role::User, Target::Another(_)) => false,
        (Role::Owner, Target::Another(_)) => true,
        (Role::SuperAdmin, Target::Another(other)) => other != Role::Owner,
        (Role::Admin, Target::Another(other)) => other == Role::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each action with whom each role may do it to: `w` the workspace, `s` oneself, `u a x o` another user, admin, super admin or owner.
    /// Columns: owner, super admin, admin, user.
    const TABLE: [(Action, [&str; 4]); 16] = [
        (Action::ReadSettings, ["wsuaxo", "wsuaxo", "wsuaxo", ""]),
        (Action::ChangeSettings, ["wsuaxo", "wsuaxo", "wsuaxo", ""]),
        (Action::ReadAudit, ["wsuaxo", "wsuaxo", "wsuaxo", ""]),
        (Action::ReadActivity, ["wsuaxo", "wsuaxo", "wsuaxo", ""]),
        (Action::ReadReach, ["wsuaxo", "wsuaxo", "wsuaxo", ""]),
        (Action::ListPeople, ["wsuaxo", "wsuaxo", "wsuaxo", ""]),
        (Action::UsePreferences, ["s", "s", "s", "s"]),
        (Action::UseDevices, ["s", "s", "s", "s"]),
        (Action::ReadRequests, ["s", "s", "s", "s"]),
        (Action::RemoveDevice, ["suaxo", "suax", "su", "s"]),
        (Action::ResetDevices, ["suaxo", "suax", "su", "s"]),
        (Action::IssueTicket, ["uaxo", "uax", "u", ""]),
        (Action::EraseData, ["suaxo", "suax", "s", "s"]),
        (Action::ExportData, ["suaxo", "suax", "s", "s"]),
        (Action::Enrol, ["s", "s", "s", "s"]),
        (Action::Answer, ["s", "s", "s", "s"]),
    ];

    #[test]
    fn who_may_do_what_to_whom() {
        // Every action, role and target: the table above is the second statement of the rule.
        assert_eq!(TABLE.map(|(action, _)| action), Action::ALL);
        let targets = [
            ('w', Target::Workspace),
            ('s', Target::Oneself),
            ('u', Target::Another(Role::User)),
            ('a', Target::Another(Role::Admin)),
            ('x', Target::Another(Role::SuperAdmin)),
            ('o', Target::Another(Role::Owner)),
        ];
        for (action, columns) in TABLE {
            for (role, allowed) in Role::ALL.into_iter().rev().zip(columns) {
                for (letter, target) in targets {
                    assert_eq!(may(role, action, target), allowed.contains(letter), "{role:?} {action:?} {target:?}");
                }
            }
        }
    }

    #[test]
    fn nobody_enrols_or_answers_for_another() {
        // Whatever else changes in the table: these two never.
        for role in Role::ALL {
            for other in [None, Some(Role::User), Some(Role::Admin), Some(Role::SuperAdmin), Some(Role::Owner)] {
                let other = Target::another(other);
                assert!(!may(role, Action::Enrol, other) && !may(role, Action::Answer, other), "{role:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_higher_role_may_all_that_a_lower_one_may() {
        // The order of roles is the order of what they may.
        for action in Action::ALL {
            for other in Role::ALL {
                for target in [Target::Workspace, Target::Oneself, Target::Another(other)] {
                    let allowed = Role::ALL.map(|role| may(role, action, target));
                    assert!(allowed.is_sorted(), "{action:?} {target:?}: {allowed:?}");
                }
            }
        }
        assert_eq!(Target::another(None), Target::Another(Role::User), "who never signed in counts as user");
    }
}
