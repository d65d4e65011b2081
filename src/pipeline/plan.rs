//! Decide: from an event and what the policy store says to what happens for each recipient. Pure.
use crate::delivery::{Ending, Reason};
use crate::event::Event;
use crate::policy::{self, DeviceView, UserEntry, Verdict, Workspace};
use crate::seam::Resolved;

/// What happens for one recipient, or one device of theirs.
#[derive(Debug)]
pub(super) enum Planned<'a> {
    /// One device gets a push.
    Send {
        /// Position in the event's recipients.
        recipient: usize,
        /// The device.
        device: DeviceView<'a>,
    },
    /// The recipient gets none.
    End {
        /// Position in the event's recipients.
        recipient: usize,
        /// Why.
        ending: Ending,
    },
}

impl Planned<'_> {
    /// Position in the event's recipients.
    pub(super) const fn recipient(&self) -> usize {
        match self {
            Self::Send { recipient, .. } | Self::End { recipient, .. } => *recipient,
        }
    }
}

/// The plan for every recipient, in their order.
pub(super) fn plan<'a>(event: &Event, resolved: &'a Resolved) -> Vec<Planned<'a>> {
    let mut planned = Vec::with_capacity(resolved.users.len());
    for (recipient, user) in resolved.users.iter().enumerate() {
        match verdict(event.kind(), &resolved.workspace, user, resolved.withdrawn) {
            Some(ending) => planned.push(Planned::End { recipient, ending }),
            None if user.device_count() == 0 => planned.push(Planned::End { recipient, ending: Ending::NoDevice }),
            None => planned.extend(user.devices().map(|device| Planned::Send { recipient, device })),
        }
    }
    planned
}

/// How many pushes a plan asks for.
pub(super) fn jobs(planned: &[Planned<'_>]) -> usize {
    planned.iter().filter(|step| matches!(step, Planned::Send { .. })).count()
}

/// Why this recipient is not notified; `None` when they are.
pub(super) fn verdict(
    kind: crate::event::NotificationType,
    workspace: &Workspace,
    user: &UserEntry,
    withdrawn: bool,
) -> Option<Ending> {
    let suppression = if withdrawn {
        Some(policy::Suppression::Withdrawn)
    } else {
        match policy::decide(workspace.setting(kind), user.preference(kind)) {
            Verdict::Deliver => None,
            Verdict::Suppress(suppression) => Some(suppression),
        }
    };
    suppression.map(|suppression| Ending::Suppressed(Reason::known(suppression.name())))
}
