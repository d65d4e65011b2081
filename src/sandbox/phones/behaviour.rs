//! What a phone does about requests: nothing by itself, or an answer to those that come.
use serde::{Deserialize, Serialize};

/// An answer, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Nothing is answered: somebody else does, or nobody.
    #[default]
    Ignore,
    /// It was me.
    Approve,
    /// No.
    Deny,
    /// No, and it was not me.
    DenyNotMe,
}

impl Reply {
    /// The verb of the signed answer; `None` where nothing is answered.
    #[must_use]
    pub const fn verb(self) -> Option<&'static str> {
        match self {
            Self::Ignore => None,
            Self::Approve => Some("approve"),
            Self::Deny => Some("deny"),
            Self::DenyNotMe => Some("deny_not_me"),
        }
    }
}

/// How requests are answered that come from now on.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// The answer.
    pub answer: Reply,
    /// The digits that the person read on the other screen; they are typed where a request asks for some.
    pub number: Option<String>,
    /// How many requests are answered so; those after them are ignored. Without it all.
    pub times: Option<u32>,
    /// How long the person takes, in milliseconds.
    pub after_ms: u64,
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behaviour").field("answer", &self.answer).field("times", &self.times).finish_non_exhaustive()
    }
}

impl Behaviour {
    /// What to do about a request that has come, counted.
    pub(super) fn next(&mut self) -> Self {
        let now = self.clone();
        match &mut self.times {
            None => {}
            Some(0) => return Self::default(),
            Some(left) => *left -= 1,
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many are answered, the others ignored.
    #[test]
    fn so_many() {
        let mut behaviour = Behaviour { answer: Reply::Deny, times: Some(2), ..Behaviour::default() };
        let answers: Vec<_> = (0..3).map(|_| behaviour.next().answer).collect();
        assert_eq!(answers, [Reply::Deny, Reply::Deny, Reply::Ignore]);
        let mut for_ever = Behaviour { answer: Reply::Approve, ..Behaviour::default() };
        assert!((0..3).all(|_| for_ever.next().answer == Reply::Approve));
    }
}
