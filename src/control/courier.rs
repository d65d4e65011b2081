//! Who brings a nonce to a phone: by push, because that is what it proves.
//!
//! The point: nobody waits for it. A provider may take seconds, and what it does not deliver the app asks for again. It deliberately goes
//! no way but a push: whoever brought it otherwise would prove nothing.
use super::state::Api;
use crate::delivery::Notice;
use crate::event::DeviceId;
use crate::people::Person;
use crate::store::{Silenced, ToReach};

/// Brings nonces, and news to phones that were just retired.
pub trait Courier: Send + Sync + 'static {
    /// Begins to bring it, and returns at once.
    fn carry(&self, person: &Person, device: &DeviceId, push: ToReach);

    /// Begins to tell phones that were just retired, and returns at once: nobody else knows any more where their pushes went.
    fn tell(&self, person: &Person, notice: &Notice, told: Vec<Silenced>);
}

/// Sends a nonce on its way, if there is one.
pub(super) fn carry(api: &Api, person: &Person, device: &DeviceId, push: Option<ToReach>) {
    if let Some(push) = push {
        api.courier().carry(person, device, push);
    }
}
