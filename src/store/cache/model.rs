//! The parts of the world in which the rules of coherence are played (`model_tests`), and what is on its way between them.
use std::collections::VecDeque;
use std::sync::Arc;

use super::{Fingerprint, Lead, Level, Limits, Value};

pub(super) const TTL: u64 = 1_000;
/// The longest that a read at the store may take.
pub(super) const STORE_TIMEOUT: u64 = TTL / 2;
pub(super) const KEYS: usize = 2;
pub(super) const PROCESSES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version(pub(super) u64);

impl Value for Version {
    fn version(&self) -> u64 {
        self.0
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// What the test leaves out, to show that it would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    None,
    /// Invalidations are not acted upon.
    DeafProcess,
    /// A broken connection raises no doubt.
    TrustingProcess,
    /// Redis takes any version.
    CarelessRedis,
    /// Redis takes values however long they were on their way.
    PatientRedis,
    /// A value counts from when it was put into Redis.
    FlatteredAge,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) version: u64,
    pub(super) read_at: u64,
    pub(super) expires_at: u64,
}

/// What is on its way to a process, in order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    /// Caused by a write of that version, or by expiry or eviction.
    Invalidated(usize, Option<u64>),
    /// The answer to a question of the read with this id.
    Copy(u64, Option<Held>),
    /// The answer to an offer of the read with this id: whether a higher version is there.
    Offered(u64, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    Up,
    /// Broken, and nobody has noticed.
    Broken,
    Down,
}

pub(super) enum Step {
    AskRedis,
    AwaitRedis,
    AskStore,
    /// Began at that moment.
    StoreReads(u64),
    /// Read that version, begun at that moment.
    Offer(u64, u64),
    AwaitOffer(u64, u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Publication {
    pub(super) key: usize,
    pub(super) version: u64,
    pub(super) read_at: u64,
    pub(super) writer: Option<usize>,
}

/// What an answer must not be below.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floor {
    /// The highest answered before the question.
    pub(super) answered: u64,
    /// The highest whose publication was heard of before the question.
    pub(super) told: u64,
}

pub(super) struct Read {
    pub(super) id: u64,
    pub(super) key: usize,
    pub(super) began: u64,
    pub(super) floor: Floor,
    pub(super) lead: Lead<Version>,
    pub(super) step: Step,
}

pub(super) struct Process {
    pub(super) level: Arc<Level<Version>>,
    pub(super) connection: Connection,
    pub(super) inbox: VecDeque<Told>,
    pub(super) reads: Vec<Read>,
    pub(super) answered: [u64; KEYS],
    pub(super) invalidated: [u64; KEYS],
}

pub(super) struct World {
    pub(super) now: u64,
    /// By key, the moments at which versions 1, 2, ... were committed.
    pub(super) commits: [Vec<u64>; KEYS],
    pub(super) redis: [Option<Held>; KEYS],
    /// The highest version that Redis was given.
    pub(super) published: [u64; KEYS],
    /// The highest version at the moment when Redis last lost one for want of memory or by a restart: a read that is under way since
    /// before may put an older one in its place, and rules 2 and 3 begin anew.
    pub(super) lost: [u64; KEYS],
    pub(super) trackers: [[bool; PROCESSES]; KEYS],
    /// On their way to Redis.
    pub(super) publications: Vec<Publication>,
    pub(super) processes: Vec<Process>,
    pub(super) prints: [Fingerprint; KEYS],
    pub(super) next_id: u64,
    pub(super) answers: u64,
    pub(super) sabotage: Sabotage,
    /// Without Redis, all in one process.
    pub(super) embedded: bool,
}

impl World {
    pub(super) fn new(sabotage: Sabotage, embedded: bool) -> Self {
        let limits = Limits { ttl_ms: TTL, unknown_ttl_ms: TTL, max_stale_ms: 5 * TTL };
        let process = || Process {
            level: Level::new(1 << 14, limits),
            connection: if embedded { Connection::Down } else { Connection::Up },
            inbox: VecDeque::new(),
            reads: Vec::new(),
            answered: [0; KEYS],
            invalidated: [0; KEYS],
        };
        Self {
            now: 10 * TTL,
            commits: std::array::from_fn(|_| vec![0]),
            redis: [None; KEYS],
            published: [0; KEYS],
            lost: [0; KEYS],
            trackers: Default::default(),
            publications: Vec::new(),
            processes: (0..PROCESSES).map(|_| process()).collect(),
            prints: std::array::from_fn(|key| Fingerprint::fixed(key as u64)),
            next_id: 0,
            answers: 0,
            sabotage,
            embedded,
        }
    }

    pub(super) fn current(&self, key: usize) -> u64 {
        self.commits[key].len() as u64
    }
}
