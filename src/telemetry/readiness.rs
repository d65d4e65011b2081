//! Whether the process should be given work: `/readyz`.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The states of the components that must all be ready. Cheap to clone and share.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, State>>>);

#[derive(Clone, Debug)]
enum State {
    Ready,
    Waiting(String),
}

impl Readiness {
    /// Adds a component, which is not ready until it says so. Two components of one name are one.
    pub fn component(&self, name: &'static str) -> Component {
        self.lock().insert(name, State::Waiting("starting".to_owned()));
        Component { all: self.clone(), name }
    }

    /// Why the process is not ready, a sentence for each component that is not; empty when it is ready. A process without any
    /// component is not ready: nobody has said what it needs yet.
    pub fn reasons(&self) -> Vec<String> {
        let states = self.lock();
        if states.is_empty() {
            return vec!["starting".to_owned()];
        }
        let reasons = states.iter().filter_map(|(name, state)| match state {
            State::Ready => None,
            State::Waiting(reason) => Some(format!("{name}: {reason}")),
        });
        reasons.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One component's hand on the readiness of the process.
#[derive(Clone, Debug)]
pub struct Component {
    all: Readiness,
    name: &'static str,
}

impl Component {
    /// It is ready.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// It is not ready, and why.
    pub fn waiting(&self, reason: impl Into<String>) {
        self.set(State::Waiting(reason.into()));
    }

    fn set(&self, state: State) {
        self.all.lock().insert(self.name, state);
    }
}
