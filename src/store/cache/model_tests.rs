//! The rules of coherence, played: a store, a Redis, two processes with real [`Level`]s, and everything that may happen between them in any
//! order: changes, publications that fail or come late, reads in all their steps, invalidations on their way, expiry, eviction,
//! connections that break silently, restarts, and time.
//!
//! What must hold of each answer, in every order:
//! 1. it was current at some moment within one TTL, or since the question was asked;
//! 2. after an invalidation was acted upon, no question asked from then on gets what was invalidated;
//! 3. a process that has heard everything there is to hear never uses what somebody's publication to Redis replaced;
//! 4. in one process, who asks after an answer was given never gets an older one.
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::model::{
    Connection, Floor, Held, KEYS, PROCESSES, Publication, Read, STORE_TIMEOUT, Sabotage, Step, TTL, Told, Version,
    World,
};
use super::{Begin, Kept, Moment};

impl World {
    fn one_event(&mut self, dice: &mut StdRng) -> Result<(), String> {
        let (process, key) = (dice.random_range(0..PROCESSES), dice.random_range(0..KEYS));
        match dice.random_range(0..100) {
            0..6 => {
                self.commits[key].push(self.now);
                if self.embedded {
                    // Whoever shares a process hears of a change before it is answered as made.
                    let version = self.current(key);
                    for process in &mut self.processes {
                        process.level.invalidate(self.prints[key], Moment(self.now));
                        process.invalidated[key] = version;
                    }
                    return Ok(());
                }
                // One in four is another process's than these; one in four publications is lost.
                let writer = (dice.random_range(0..4) > 0).then_some(process);
                if let Some(writer) = writer {
                    self.processes[writer].level.invalidate(self.prints[key], Moment(self.now));
                }
                if dice.random_range(0..4) > 0 {
                    self.publications.push(Publication { key, version: self.current(key), read_at: self.now, writer });
                }
            }
            6..16 if !self.publications.is_empty() => {
                let position = dice.random_range(0..self.publications.len());
                let Publication { key, version, read_at, writer } = self.publications.swap_remove(position);
                let writer = writer.filter(|writer| self.processes[*writer].connection == Connection::Up);
                self.offer(key, version, read_at, writer, None);
                if let Some(writer) = writer
                    && self.redis[key].is_some_and(|held| held.version >= version)
                {
                    // It hears of its own publication by the answer alone.
                    self.processes[writer].inbox.push_back(Told::Invalidated(key, Some(version)));
                }
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
            96 if !self.embedded => self.processes[process].connection = Connection::Broken,
            97 => self.notice(process),
            98 if !self.embedded => self.reconnect(process),
            99 if !self.embedded && dice.random_range(0..4) == 0 => self.restart_redis(),
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
        let told = of.invalidated[key].max(published);
        let floor = Floor { answered: of.answered[key], told };
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
                    self.offer(key, version, began, Some(process), Some(id));
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
        match lead.finish(&Version(version), Moment(read_at), Moment(self.now)) {
            Kept::Yes | Kept::Discarded => self.answer(process, key, began, floor, version),
            Kept::Unusable => Ok(()),
        }
    }

    /// The script, and what Redis does besides.
    fn offer(&mut self, key: usize, version: u64, read_at: u64, by: Option<usize>, read: Option<u64>) {
        self.expire(key, true);
        let held = self.redis[key].map(|held| held.version);
        let careless = self.sabotage == Sabotage::CarelessRedis;
        let late = self.now - read_at > TTL / 2 && self.sabotage != Sabotage::PatientRedis;
        if !late && held.is_none_or(|held| held < version || careless) {
            let read_at = if self.sabotage == Sabotage::FlatteredAge { self.now } else { read_at };
            let expires_at = (read_at + TTL).max(self.now + 1);
            self.redis[key] = Some(Held { version, read_at, expires_at });
            self.published[key] = self.published[key].max(version);
            self.tell_trackers(key, Some(version), by);
        }
        if let Some(process) = by {
            self.trackers[key][process] = true;
        }
        if let (Some(process), Some(id)) = (by, read) {
            let overtaken = late || held.is_some_and(|held| held > version) && !careless;
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
                self.lost[key] = self.current(key);
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
        self.lost = std::array::from_fn(|key| self.current(key));
        self.trackers = Default::default();
        self.publications.clear();
        for process in &mut self.processes {
            if process.connection == Connection::Up {
                process.connection = Connection::Broken;
            }
        }
    }

    fn answer(&mut self, process: usize, key: usize, began: u64, floor: Floor, version: u64) -> Result<(), String> {
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
        let told = if floor.told > self.lost[key] { floor.told } else { 0 };
        let floor = floor.answered.max(told);
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
    let (mut dice, mut world) = (StdRng::seed_from_u64(seed), World::new(sabotage, seed.is_multiple_of(4)));
    for _ in 0..400 {
        world.one_event(&mut dice).map_err(|what| format!("seed {seed}: {what}"))?;
    }
    Ok(world.answers)
}

/// 8,000 of them; the second part has one of the rare ones in which only the age limit of Redis's script helps.
fn orders() -> impl Iterator<Item = u64> {
    (0..7_000).chain(49_000..50_000)
}

/// Policy is fresh: in 8,000 orders of everything that may happen, no answer is older than the bound, none is older than an invalidation
/// that was acted upon, and versions never go back.
#[test]
fn invariant_10_no_read_is_older_than_the_bound() {
    let mut answers = 0;
    for seed in orders() {
        answers += play(seed, Sabotage::None).unwrap_or_else(|what| panic!("{what}"));
    }
    assert!(answers > 200_000, "the orders are too dull: {answers} answers");
}

/// The test above can fail: it notices each guard that is left out.
#[test]
fn the_model_notices_a_missing_guard() {
    for sabotage in [
        Sabotage::DeafProcess,
        Sabotage::TrustingProcess,
        Sabotage::CarelessRedis,
        Sabotage::PatientRedis,
        Sabotage::FlatteredAge,
    ] {
        let noticed = orders().any(|seed| play(seed, sabotage).is_err());
        assert!(noticed, "{sabotage:?} was not noticed");
    }
}
