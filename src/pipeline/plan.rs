//! Decide: from an event and what the policy store says to what happens for each recipient. Pure.
use crate::delivery::{Ending, Reason};
use crate::event::{Event, NotificationType, UserId};
use crate::policy::{self, DeviceView, Platform, Suppression, UserEntry, Verdict, Workspace};
use crate::seam::Resolved;

/// What happens for one recipient, or one device of theirs.
#[derive(Debug)]
pub(super) struct Step<'a> {
    /// The recipient's position in the event.
    pub(super) recipient: usize,
    /// The recipient.
    pub(super) user: &'a UserId,
    /// The version of what was known of them.
    pub(super) user_version: u64,
    pub(super) planned: Planned<'a>,
}

/// See [`Step`].
#[derive(Debug)]
pub(super) enum Planned<'a> {
    /// The device gets a push.
    Send(DeviceView<'a>),
    /// This one of the recipient's devices gets none, for this reason.
    Silent(DeviceView<'a>, Ending),
    /// The recipient gets none, for this reason.
    End(Ending),
    /// The device is told, quietly, that further requests stay silent.
    Tell(DeviceView<'a>),
}

/// The plan for every recipient, in their order.
pub(super) fn plan<'a>(event: &'a Event, resolved: &'a Resolved) -> Vec<Step<'a>> {
    let mut steps = Vec::with_capacity(resolved.users.len());
    for (recipient, entry) in resolved.users.iter().enumerate() {
        // One answer for each recipient is the store's promise; another number of them must not pass for a plan.
        let user = &event.recipients[recipient];
        let step = |planned| Step { recipient, user, user_version: entry.version(), planned };
        match verdict(event.kind(), &resolved.workspace, entry, resolved.withdrawn) {
            Some(ending) => steps.push(step(Planned::End(ending))),
            None if entry.device_count() == 0 => steps.push(step(Planned::End(Ending::NoDevice))),
            None => {
                let first = steps.len();
                steps.extend(entry.devices().map(|device| {
                    step(match device_verdict(event.kind(), &resolved.workspace, &device) {
                        None => Planned::Send(device),
                        Some(ending) => Planned::Silent(device, ending),
                    })
                }));
                // Where no device rings it is the person who is not reached, and upstream hears of that.
                if steps[first..].iter().all(|step| matches!(step.planned, Planned::Silent(..))) {
                    steps.truncate(first);
                    steps.push(step(Planned::End(suppressed(Suppression::AllDevicesQuiet))));
                }
            }
        }
    }
    steps
}

/// How many pushes a plan asks for.
pub(super) fn jobs(steps: &[Step<'_>]) -> usize {
    steps.iter().filter(|step| matches!(step.planned, Planned::Send(_))).count()
}

/// Whose phones a plan would ring: recipients' positions and ids, each once.
pub(super) fn ringing<'s, 'a>(steps: &'s [Step<'a>]) -> impl Iterator<Item = (usize, &'a UserId)> + use<'s, 'a> {
    let sends = steps.iter().filter(|step| matches!(step.planned, Planned::Send(_)));
    let mut last = None;
    sends.filter_map(move |step| {
        (last.replace(step.recipient) != Some(step.recipient)).then_some((step.recipient, step.user))
    })
}

/// The plan without the pushes of those whom the guard holds back: by position, in order, each with whether they are to be told.
pub(super) fn hold_back<'a>(
    steps: Vec<Step<'a>>,
    resolved: &'a Resolved,
    held_back: &[(usize, bool)],
) -> Vec<Step<'a>> {
    let mut rest: Vec<Step<'a>> = Vec::with_capacity(steps.len());
    for step in steps {
        let Ok(at) = held_back.binary_search_by_key(&step.recipient, |(recipient, _)| *recipient) else {
            rest.push(step);
            continue;
        };
        // The first step of a recipient stands for all of them.
        if rest.last().is_some_and(|last| last.recipient == step.recipient) {
            continue;
        }
        let (recipient, tell) = held_back[at];
        let step = |planned| Step { planned, ..step };
        rest.push(step(Planned::End(suppressed(Suppression::FatigueGuard))));
        if tell {
            rest.extend(resolved.users[recipient].devices().map(|device| step(Planned::Tell(device))));
        }
    }
    rest
}

fn suppressed(suppression: Suppression) -> Ending {
    Ending::Suppressed(Reason::known(suppression.name()))
}

/// Why this person's phones stay as they are; `None` when policy lets them ring.
pub(super) fn verdict(
    kind: NotificationType,
    workspace: &Workspace,
    user: &UserEntry,
    withdrawn: bool,
) -> Option<Ending> {
    let suppression = if withdrawn {
        Some(Suppression::Withdrawn)
    } else {
        match policy::decide(workspace.setting(kind), user.preference(kind)) {
            Verdict::Deliver => None,
            Verdict::Suppress(suppression) => Some(suppression),
        }
    };
    suppression.map(suppressed)
}

/// Why this device is not told that a notification is taken back; `None` when it is. On iOS that may leave an entry, which is a push like
/// any other. On Android it shows nothing and only removes, so policy has nothing to say.
pub(super) fn withdrawal_verdict(
    kind: NotificationType,
    workspace: &Workspace,
    user: &UserEntry,
    device: &DeviceView<'_>,
) -> Option<Ending> {
    match device.platform() {
        Platform::Apns => verdict(kind, workspace, user, false).or_else(|| device_verdict(kind, workspace, device)),
        Platform::Fcm => None,
    }
}

/// Why a job for this device rings nowhere, if policy lets its owner's devices ring: the device is quiet, or all of them are.
pub(super) fn job_verdict(
    kind: NotificationType,
    workspace: &Workspace,
    user: &UserEntry,
    device: &DeviceView<'_>,
) -> Option<Ending> {
    let quiet = device_verdict(kind, workspace, device)?;
    let all = user.devices().all(|device| device_verdict(kind, workspace, &device).is_some());
    Some(if all { suppressed(Suppression::AllDevicesQuiet) } else { quiet })
}

/// Why this one device stays as it is, though policy lets its owner's ring.
pub(super) fn device_verdict(
    kind: crate::event::NotificationType,
    workspace: &Workspace,
    device: &DeviceView<'_>,
) -> Option<Ending> {
    match policy::decide_device(workspace.setting(kind), device.quiet()) {
        Verdict::Deliver => None,
        Verdict::Suppress(suppression) => Some(suppressed(suppression)),
    }
}

#[cfg(test)]
#[path = "quiet_tests.rs"]
mod tests;
