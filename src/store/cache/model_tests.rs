//! The rules of coherence, played: a store, a Redis, two processes with real [`Level`]s, and everything that may happen between them in any
//! order: changes, publications that fail or come late, reads in all their steps, invalidations on their way, expiry, eviction,
//! connections that break silently, restarts, and time.
//!
//! What must hold of each answer, in every order:
//! 1. it was current at some moment within one TTL, or since the question was asked;
//! 2. after an invalidation was acted upon, no question asked from then on gets what was invalidated;
//! 3. a process that has heard everything there is to hear never uses what somebody's publication to Redis replaced;
//! 4. in one process, who asks after an answer was given never gets an older one.
use std::collections::VecDeque;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Begin, Fingerprint, Fingerprints, Kept, Lead, Level, Limits, Moment, Value};

const TTL: u64 = 1_000;
/// The longest that a read at the store may take.
const STORE_TIMEOUT: u64 = TTL / 2;
const KEYS: usize = 2;
const PROCESSES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version(u64);

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
enum Sabotage {
    None,
    /// Invalidations are not acted upon.
    DeafProcess,
    /// A broken connection raises no doubt.
    TrustingProcess,
    /// Redis takes any version.
    CarelessRedis,
    /// A value counts from when it was put into Redis.
    FlatteredAge,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    version: u64,
    read_at: u64,
    expires_at: u64,
}

/// What is on its way to a process, in order.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// Caused by a write of that version, or by expiry or eviction.
    Invalidated(usize, Option<u64>),
    /// The answer to a question of the read with this id.
    Copy(u64, Option<Held>),
    /// The answer to an offer of the read with this id: whether a higher version is there.
    Offered(u64, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    Up,
    /// Broken, and nobody has noticed.
    Broken,
    Down,
}

enum Step {
    AskRedis,
    AwaitRedis,
    AskStore,
    /// Began at that moment.
    StoreReads(u64),
    /// Read that version, begun at that moment.
    Offer(u64, u64),
    AwaitOffer(u64, u64),
}

struct Read {
    id: u64,
    key: usize,
    began: u64,
    /// What must be surpassed or equalled: the highest answered before it began, and the highest invalidated before.
    floor: u64,
    lead: Lead<Version>,
    step: Step,
}

struct Process {
    level: Arc<Level<Version>>,
    connection: Connection,
    inbox: VecDeque<Told>,
    reads: Vec<Read>,
    answered: [u64; KEYS],
    invalidated: [u64; KEYS],
}

struct World {
    now: u64,
    /// By key, the moments at which versions 1, 2, ... were committed.
    commits: [Vec<u64>; KEYS],
    redis: [Option<Held>; KEYS],
    /// The highest version that Redis was given since it last lost one.
    published: [u64; KEYS],
    trackers: [[bool; PROCESSES]; KEYS],
    /// Publications on their way to Redis: key, version, moment of the read.
    publications: Vec<(usize, u64, u64)>,
    processes: Vec<Process>,
    prints: [Fingerprint; KEYS],
    next_id: u64,
    answers: u64,
    sabotage: Sabotage,
}

impl World {
    fn new(sabotage: Sabotage) -> Self {
        let fingerprints = Fingerprints::default();
        let limits = Limits { ttl_ms: TTL, unknown_ttl_ms: TTL, max_stale_ms: 5 * TTL };
        let process = || Process {
            level: Level::new(1 << 20, limits),
            connection: Connection::Up,
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
            trackers: Default::default(),
            publications: Vec::new(),
            processes: (0..PROCESSES).map(|_| process()).collect(),
            prints: std::array::from_fn(|key| fingerprints.of_workspace(&key.to_string())),
            next_id: 0,
            answers: 0,
            sabotage,
        }
    }

    fn current(&self, key: usize) -> u64 {
        self.commits[key].len() as u64
    }

    fn one_event(&mut self, dice: &mut StdRng) -> Result<(), String> {
        let (process, key) = (dice.random_range(0..PROCESSES), dice.random_range(0..KEYS));
        match dice.random_range(0..100) {
            0..6 => {
                self.commits[key].push(self.now);
                // One in four publications is lost.
                if dice.random_range(0..4) > 0 {
                    self.publications.push((key, self.current(key), self.now));
                }
            }
            6..16 if !self.publications.is_empty() => {
                let (key, version, read_at) =
                    self.publications.swap_remove(dice.random_range(0..self.publications.len()));
                self.offer(key, version, read_at, None);
            }
            16..36 => self.ask(process, key)?,
            36..66 if !self.processes[process].reads.is_empty() => {
                let read = dice.random_range(0..self.processes[process].reads.len());
                self.step(process, read)?;
            }
            66..86 => self.deliver(process)?,
            86..94 => self.now += dice.random_range(1..TTL / 3),
            94 => self.expire(key, true),
            95 => self.expire(key, false),
            96 => self.processes[process].connection = Connection::Broken,
            97 => self.notice(process),
            98 => self.reconnect(process),
            99 if dice.random_range(0..4) == 0 => self.restart_redis(),
            _ => {}
        }
        Ok(())
    }

    /// A question, up to its first wait.
    fn ask(&mut self, process: usize, key: usize) -> Result<(), String> {
        let (now, print) = (Moment(self.now), self.prints[key]);
        let of = &self.processes[process];
        let informed = of.connection == Connection::Up && of.inbox.is_empty();
        let published = if informed { self.published[key] } else { 0 };
        let floor = of.answered[key].max(of.invalidated[key]).max(published);
        if let Some(Version(known)) = of.level.last_known(print, now)
            && known < of.answered[key]
        {
            return Err(format!("process {process} would fall back to {known} after it answered {}", of.answered[key]));
        }
        match of.level.begin(print, now) {
            Begin::Fresh(value) => self.answer(process, key, self.now, floor, value.0),
            // Its answer is that of the read it joined, which began under the same conditions.
            Begin::Join(_) => Ok(()),
            Begin::Lead(lead) => {
                self.next_id += 1;
                let step = if of.connection == Connection::Down { Step::AskStore } else { Step::AskRedis };
                let read = Read { id: self.next_id, key, began: self.now, floor, lead, step };
                self.processes[process].reads.push(read);
                Ok(())
            }
        }
    }

    /// One step of a read.
    fn step(&mut self, process: usize, position: usize) -> Result<(), String> {
        let mut read = self.processes[process].reads.swap_remove(position);
        let (key, id) = (read.key, read.id);
        read.step = match read.step {
            Step::AskRedis => match self.processes[process].connection {
                Connection::Up => {
                    self.expire(key, true);
                    self.trackers[key][process] = true;
                    let held = self.redis[key];
                    self.processes[process].inbox.push_back(Told::Copy(id, held));
                    Step::AwaitRedis
                }
                Connection::Broken => {
                    self.notice(process);
                    Step::AskStore
                }
                Connection::Down => Step::AskStore,
            },
            Step::AskStore => Step::StoreReads(self.now),
            Step::StoreReads(began) if self.now - began > STORE_TIMEOUT => return Ok(()),
            Step::StoreReads(began) => Step::Offer(self.current(key), began),
            Step::Offer(version, began) => match self.processes[process].connection {
                Connection::Up => {
                    self.offer(key, version, began, Some((process, id)));
                    Step::AwaitOffer(version, began)
                }
                Connection::Broken => {
                    self.notice(process);
                    return self.finish(process, read, version, began);
                }
                Connection::Down => return self.finish(process, read, version, began),
            },
            // The answer comes, or the connection turns out to be broken.
            Step::AwaitRedis if self.processes[process].connection == Connection::Up => Step::AwaitRedis,
            Step::AwaitRedis => {
                self.notice(process);
                Step::AskStore
            }
            Step::AwaitOffer(version, began) if self.processes[process].connection == Connection::Up => {
                Step::AwaitOffer(version, began)
            }
            Step::AwaitOffer(version, began) => {
                self.notice(process);
                return self.finish(process, read, version, began);
            }
        };
        self.processes[process].reads.push(read);
        Ok(())
    }

    fn finish(&mut self, process: usize, read: Read, version: u64, read_at: u64) -> Result<(), String> {
        let Read { key, began, floor, lead, .. } = read;
        match lead.finish(&Version(version), Moment(read_at)) {
            Kept::Yes | Kept::Discarded => self.answer(process, key, began, floor, version),
            Kept::Behind => Ok(()),
        }
    }

    /// The script, and what Redis does besides.
    fn offer(&mut self, key: usize, version: u64, read_at: u64, by: Option<(usize, u64)>) {
        self.expire(key, true);
        let held = self.redis[key].map(|held| held.version);
        let careless = self.sabotage == Sabotage::CarelessRedis;
        if held.is_none_or(|held| held < version || careless) {
            let read_at = if self.sabotage == Sabotage::FlatteredAge { self.now } else { read_at };
            let expires_at = (read_at + TTL).max(self.now + 1);
            self.redis[key] = Some(Held { version, read_at, expires_at });
            self.published[key] = self.published[key].max(version);
            self.tell_trackers(key, Some(version), by.map(|(process, _)| process));
        }
        if let Some((process, id)) = by {
            self.trackers[key][process] = true;
            let overtaken = held.is_some_and(|held| held > version) && !careless;
            self.processes[process].inbox.push_back(Told::Offered(id, overtaken));
        }
    }

    fn tell_trackers(&mut self, key: usize, version: Option<u64>, but: Option<usize>) {
        for (number, process) in self.processes.iter_mut().enumerate() {
            if std::mem::take(&mut self.trackers[key][number])
                && Some(number) != but
                && process.connection == Connection::Up
            {
                process.inbox.push_back(Told::Invalidated(key, version));
            }
        }
    }

    /// Redis lets go of a value: because it expired, or for want of memory.
    fn expire(&mut self, key: usize, only_if_due: bool) {
        if self.redis[key].is_some_and(|held| !only_if_due || held.expires_at <= self.now) {
            self.redis[key] = None;
            if !only_if_due {
                // What was read before it was lost may now take its place.
                self.published[key] = 0;
            }
            self.tell_trackers(key, None, None);
        }
    }

    fn deliver(&mut self, process: usize) -> Result<(), String> {
        if self.processes[process].connection != Connection::Up {
            self.processes[process].inbox.clear();
        }
        match self.processes[process].inbox.pop_front() {
            None => Ok(()),
            Some(Told::Invalidated(key, version)) => {
                let of = &mut self.processes[process];
                if self.sabotage != Sabotage::DeafProcess {
                    of.level.invalidate(self.prints[key], Moment(self.now));
                }
                of.invalidated[key] = of.invalidated[key].max(version.unwrap_or(0));
                Ok(())
            }
            Some(Told::Copy(id, held)) => {
                let Some(mut read) = self.take(process, id) else { return Ok(()) };
                let print = self.prints[read.key];
                match held {
                    Some(Held { version, read_at, .. })
                        if read.lead.level().usable(print, &Version(version), Moment(read_at), Moment(self.now)) =>
                    {
                        self.finish(process, read, version, read_at)
                    }
                    Some(_) | None => {
                        read.step = Step::AskStore;
                        self.processes[process].reads.push(read);
                        Ok(())
                    }
                }
            }
            Some(Told::Offered(id, overtaken)) => match self.take(process, id) {
                Some(read) if !overtaken => {
                    let Step::AwaitOffer(version, read_at) = read.step else { return Ok(()) };
                    self.finish(process, read, version, read_at)
                }
                Some(_) | None => Ok(()),
            },
        }
    }

    fn take(&mut self, process: usize, id: u64) -> Option<Read> {
        let reads = &mut self.processes[process].reads;
        let position = reads.iter().position(|read| read.id == id)?;
        Some(reads.swap_remove(position))
    }

    /// A process learns that its connection is gone.
    fn notice(&mut self, process: usize) {
        let of = &mut self.processes[process];
        if of.connection == Connection::Broken {
            of.connection = Connection::Down;
            of.inbox.clear();
            if self.sabotage != Sabotage::TrustingProcess {
                of.level.doubt_everything();
            }
        }
    }

    fn reconnect(&mut self, process: usize) {
        let of = &mut self.processes[process];
        if of.connection == Connection::Down {
            of.connection = Connection::Up;
            for trackers in &mut self.trackers {
                trackers[process] = false;
            }
            if self.sabotage != Sabotage::TrustingProcess {
                of.level.doubt_everything();
            }
        }
    }

    fn restart_redis(&mut self) {
        self.redis = [None; KEYS];
        self.published = [0; KEYS];
        self.trackers = Default::default();
        self.publications.clear();
        for process in &mut self.processes {
            if process.connection == Connection::Up {
                process.connection = Connection::Broken;
            }
        }
    }

    fn answer(&mut self, process: usize, key: usize, began: u64, floor: u64, version: u64) -> Result<(), String> {
        self.answers += 1;
        let at = self.now;
        if let Some(replaced_at) = self.commits[key].get(version as usize)
            && *replaced_at <= began
            && at - replaced_at >= TTL
        {
            return Err(format!(
                "at {at}, process {process} used version {version}, replaced at {replaced_at}, asked at {began}"
            ));
        }
        if version < floor {
            return Err(format!("at {at}, process {process} went back from {floor} to {version}, asked at {began}"));
        }
        let answered = &mut self.processes[process].answered[key];
        *answered = (*answered).max(version);
        Ok(())
    }
}

/// Plays one order of 400 events; how many answers were given, or what was wrong.
fn play(seed: u64, sabotage: Sabotage) -> Result<u64, String> {
    let (mut dice, mut world) = (StdRng::seed_from_u64(seed), World::new(sabotage));
    for _ in 0..400 {
        world.one_event(&mut dice).map_err(|what| format!("seed {seed}: {what}"))?;
    }
    Ok(world.answers)
}

/// Policy is fresh: in 20,000 orders of everything that may happen, no answer is older than the bound, none is older than an invalidation
/// that was acted upon, and versions never go back.
#[test]
fn no_read_is_older_than_the_bound() {
    let mut answers = 0;
    for seed in 0..20_000 {
        answers += play(seed, Sabotage::None).unwrap_or_else(|what| panic!("{what}"));
    }
    assert!(answers > 500_000, "the orders are too dull: {answers} answers");
}

/// The test above can fail: it notices each guard that is left out.
#[test]
fn the_model_notices_a_missing_guard() {
    for sabotage in [Sabotage::DeafProcess, Sabotage::TrustingProcess, Sabotage::CarelessRedis, Sabotage::FlatteredAge]
    {
        let noticed = (0..20_000).any(|seed| play(seed, sabotage).is_err());
        assert!(noticed, "{sabotage:?} was not noticed");
    }
}
