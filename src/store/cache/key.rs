//! The keys of the in-process cache: 128 bits in place of two strings.
//!
//! The point: a hundred thousand people's ids would take as much memory as half their devices, and comparing them as much time as
//! finding them. Two SipHash-1-3 values under two secret keys, drawn anew by each process, cannot be made to collide by whoever picks
//! ids; by chance, two of 100,000 people collide once in 10^28 processes. Deliberately not a hash that can be computed elsewhere.
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// A workspace or a person, in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Fingerprint(u64, u64);

impl Fingerprint {
    /// The same in each run.
    #[cfg(test)]
    pub(in crate::store) fn fixed(number: u64) -> Self {
        Self(number, number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// 0 to `parts - 1`, evenly spread and the same at each call: for jitter.
    pub(in crate::store) fn part(self, parts: u64) -> u64 {
        self.1 % parts.max(1)
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Takes the first half of a [`Fingerprint`] for its hash: it is one already.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store) struct Halves(u64);

impl BuildHasher for Halves {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Halves {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}

/// Makes fingerprints; one for each process.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Fingerprints(RandomState, RandomState);

impl Fingerprints {
    /// The workspace's, and that of one of its people.
    pub(in crate::store) fn of(&self, workspace: &str, user: &str) -> (Fingerprint, Fingerprint) {
        let (mut one, mut two) = (self.0.build_hasher(), self.1.build_hasher());
        workspace.hash(&mut one);
        workspace.hash(&mut two);
        let of_workspace = Fingerprint(one.finish(), two.finish());
        user.hash(&mut one);
        user.hash(&mut two);
        (of_workspace, Fingerprint(one.finish(), two.finish()))
    }

    /// The workspace's.
    pub(in crate::store) fn of_workspace(&self, workspace: &str) -> Fingerprint {
        Fingerprint(self.0.hash_one(workspace), self.1.hash_one(workspace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fingerprint depends on both ids and on where one ends and the other begins, and both ways to make one agree.
    #[test]
    fn fingerprints_differ() {
        let prints = Fingerprints::default();
        let (workspace, person) = prints.of("ab", "c");
        assert_eq!(workspace, prints.of_workspace("ab"));
        assert_eq!((workspace, person), prints.of("ab", "c"));
        assert_ne!(person, prints.of("a", "bc").1);
        assert_ne!(person, prints.of("ab", "d").1);
        assert_ne!(workspace, person);
        assert_ne!(workspace, Fingerprints::default().of_workspace("ab"));
    }
}
