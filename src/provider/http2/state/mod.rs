//! Who may send on which connection, who waits, and until when: the pool's books, kept under one lock.
//!
//! **Point:** a request costs two short visits (`enter`, `leave`) and no timer of its own; time comes in as ticks.
//! **Does not:** do I/O, read a clock or know HTTP/2, so that its rules are tested as plain values.
//! **Fails:** not at all; a full pool is a queue, served in order of arrival.
mod health;
mod member;

use std::{collections::VecDeque, task::Waker};

use slab::Slab;

pub(in crate::provider::http2) use self::health::Sickness;
use self::member::Member;
use super::ConnectionId;

/// Steps of 50 ms since the pool began.
pub(in crate::provider::http2) type Tick = u32;

/// The limits by which the books are kept, in ticks and streams.
#[derive(Clone, Debug)]
pub(in crate::provider::http2) struct Laws {
    pub(in crate::provider::http2) cap: u32,
    pub(in crate::provider::http2) request: Tick,
    pub(in crate::provider::http2) queue: Tick,
    pub(in crate::provider::http2) one_until_accepted: bool,
    pub(in crate::provider::http2) sick_factor: f32,
    pub(in crate::provider::http2) sick_floor: f32,
    pub(in crate::provider::http2) narrow: Tick,
}

/// The books of one pool over connections of type `C`.
pub(in crate::provider::http2) struct State<C> {
    laws: Laws,
    members: Slab<Member<C>>,
    exchanges: Slab<Exchange>,
    queue: VecDeque<(usize, u64)>,
    waiting: usize,
    tickets: u64,
    /// The connection that comes first among equals.
    turn: usize,
    closing: bool,
}

/// One request in the books: waiting for a stream, or on one.
struct Exchange {
    ticket: u64,
    waker: Waker,
    expires: Tick,
    started: Tick,
    deadline: Tick,
    avoid: Option<ConnectionId>,
    /// Its time is over and it was told so.
    told: bool,
    /// The member whose stream it holds.
    holds: Option<usize>,
}

/// A stream to use until `expires`.
pub(in crate::provider::http2) struct Grant<C> {
    pub(in crate::provider::http2) connection: C,
    pub(in crate::provider::http2) expires: Tick,
}

/// The answer to `enter` and `wait`.
pub(in crate::provider::http2) enum Turn<C> {
    Granted(Grant<C>),
    Waiting { expires: Tick },
    Closing,
}

/// How an exchange left its stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::provider::http2) enum Ending {
    /// Answered; `accepted` if the status shows that the credential was taken.
    Answered {
        accepted: bool,
    },
    TimedOut,
    /// Reset, refused, lost, or dropped by the caller.
    Cut,
}

/// Counts for gauges and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::provider::http2) struct Census {
    pub(in crate::provider::http2) open: usize,
    pub(in crate::provider::http2) draining: usize,
    pub(in crate::provider::http2) in_flight: usize,
    pub(in crate::provider::http2) waiting: usize,
    /// An open connection has had its credential accepted: the provider is there and takes us.
    pub(in crate::provider::http2) proven: bool,
}

impl<C: Clone> State<C> {
    pub(in crate::provider::http2) fn new(laws: Laws) -> Self {
        Self {
            laws,
            members: Slab::new(),
            exchanges: Slab::new(),
            queue: VecDeque::new(),
            waiting: 0,
            tickets: 0,
            turn: 0,
            closing: false,
        }
    }

    /// Enters a request: it gets a stream at once if one is free that nobody waits for, else a place in the queue.
    /// The key names it until `leave`; there is none when the pool is closing.
    pub(in crate::provider::http2) fn enter(
        &mut self,
        now: Tick,
        deadline: Tick,
        avoid: Option<ConnectionId>,
        waker: &Waker,
    ) -> (usize, Turn<C>) {
        if self.closing {
            return (usize::MAX, Turn::Closing);
        }
        // Whoever waits cannot use what is free now, or would have been given it.
        let free = self.pick(avoid);
        self.tickets += 1;
        let mut exchange = Exchange {
            ticket: self.tickets,
            waker: waker.clone(),
            expires: deadline.min(now.saturating_add(self.laws.queue)),
            started: now,
            deadline,
            avoid,
            told: false,
            holds: None,
        };
        let Some(member) = free else {
            let expires = exchange.expires;
            let key = self.exchanges.insert(exchange);
            self.queue.push_back((key, self.tickets));
            self.waiting += 1;
            return (key, Turn::Waiting { expires });
        };
        let grant = Self::occupy(&mut self.members[member], member, &mut exchange, now, self.laws.request);
        (self.exchanges.insert(exchange), Turn::Granted(grant))
    }

    fn occupy(member: &mut Member<C>, index: usize, exchange: &mut Exchange, now: Tick, request: Tick) -> Grant<C> {
        member.in_flight += 1;
        member.unwritten += 1;
        exchange.holds = Some(index);
        exchange.started = now;
        exchange.told = false;
        exchange.expires = exchange.deadline.min(now.saturating_add(request));
        Grant { connection: member.connection.clone(), expires: exchange.expires }
    }

    /// The open connection that gathers requests to write; else the least loaded one with a free stream, in turn among equals, so that
    /// none goes cold; the avoided one only if it is the only one open.
    fn pick(&mut self, avoid: Option<ConnectionId>) -> Option<usize> {
        let mut best: Option<(bool, u32, usize, usize)> = None;
        let mut only_avoided = None;
        let mut others = false;
        for (index, member) in &self.members {
            if member.draining {
                continue;
            }
            let avoided = avoid == Some(member.id);
            others |= !avoided;
            if !member.has_room(&self.laws) {
                continue;
            }
            let candidate = (!member.gathers(), member.in_flight, index.wrapping_sub(self.turn), index);
            if avoided {
                only_avoided = Some(index);
            } else if best.is_none_or(|best| candidate < best) {
                best = Some(candidate);
            }
        }
        let picked = best.map(|(.., index)| index).or(if others { None } else { only_avoided })?;
        self.turn = picked + 1;
        Some(picked)
    }

    /// Asks again for a waiting request.
    pub(in crate::provider::http2) fn wait(&mut self, key: usize, waker: &Waker) -> Turn<C> {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Turn::Closing };
        exchange.waker.clone_from(waker);
        match exchange.holds {
            Some(member) => {
                Turn::Granted(Grant { connection: self.members[member].connection.clone(), expires: exchange.expires })
            }
            None if self.closing => Turn::Closing,
            None => Turn::Waiting { expires: exchange.expires },
        }
    }

    /// The task that polls the request changed.
    pub(in crate::provider::http2) fn rewake(&mut self, key: usize, waker: &Waker) {
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.waker.clone_from(waker);
        }
    }

    /// Ends a request, frees its stream or its place in the queue, and serves who waits.
    pub(in crate::provider::http2) fn leave(&mut self, key: usize, ending: Ending, now: Tick) {
        let Some(exchange) = self.exchanges.try_remove(key) else { return };
        let Some(index) = exchange.holds else {
            self.waiting -= 1;
            self.compact();
            return;
        };
        let member = &mut self.members[index];
        member.in_flight -= 1;
        // What was given up before it was started is never written.
        member.unwritten = member.unwritten.min(member.in_flight);
        match ending {
            Ending::Answered { accepted } => {
                member.accepted |= accepted;
                member.sample(now.saturating_sub(exchange.started));
            }
            Ending::TimedOut => member.sample(now.saturating_sub(exchange.started)),
            Ending::Cut => {}
        }
        if member.gone && member.in_flight == 0 {
            self.members.remove(index);
        }
        if self.waiting > 0 {
            self.serve(now);
        }
    }

    /// Forgets the places of those who left the queue, once they are the majority.
    fn compact(&mut self) {
        if self.queue.len() > 2 * self.waiting + 16 {
            let exchanges = &self.exchanges;
            self.queue
                .retain(|&(key, ticket)| exchanges.get(key).is_some_and(|e| e.ticket == ticket && e.holds.is_none()));
        }
    }

    /// Gives free streams to those who wait, in order of arrival; one who avoids the only free connection is passed over.
    pub(in crate::provider::http2) fn serve(&mut self, now: Tick) {
        let mut place = 0;
        while let Some(&(key, ticket)) = self.queue.get(place) {
            let avoid = match self.exchanges.get(key) {
                Some(e) if e.ticket == ticket && e.holds.is_none() => e.avoid,
                Some(_) | None => {
                    self.queue.remove(place);
                    continue;
                }
            };
            match self.pick(avoid) {
                Some(member) => {
                    self.queue.remove(place);
                    self.waiting -= 1;
                    let exchange = &mut self.exchanges[key];
                    Self::occupy(&mut self.members[member], member, exchange, now, self.laws.request);
                    exchange.waker.wake_by_ref();
                }
                None if avoid.is_some() => place += 1,
                None => return,
            }
        }
    }

    /// A connection is open and may be used up to the peer's limit.
    pub(in crate::provider::http2) fn opened(&mut self, id: ConnectionId, connection: C, peer_limit: u32, now: Tick) {
        self.members.insert(Member::new(id, connection, peer_limit));
        self.serve(now);
    }

    fn member(&mut self, id: ConnectionId) -> Option<(usize, &mut Member<C>)> {
        self.members.iter_mut().find(|(_, member)| member.id == id)
    }

    /// The peer's SETTINGS changed how many streams it allows.
    pub(in crate::provider::http2) fn limit_changed(&mut self, id: ConnectionId, peer_limit: u32, now: Tick) {
        if let Some((_, member)) = self.member(id) {
            member.peer_limit = peer_limit;
            self.serve(now);
        }
    }

    /// The connection has written all that it was given.
    pub(in crate::provider::http2) fn written(&mut self, id: ConnectionId, now: Tick) {
        if let Some((_, member)) = self.member(id) {
            member.unwritten = 0;
            if self.waiting > 0 {
                self.serve(now);
            }
        }
    }

    /// No new streams on this connection; those in flight go on. Returns it the first time.
    pub(in crate::provider::http2) fn retire(&mut self, id: ConnectionId, now: Tick) -> Option<C> {
        let (_, member) = self.member(id)?;
        if std::mem::replace(&mut member.draining, true) {
            return None;
        }
        let connection = member.connection.clone();
        // Whoever avoids a connection may take it if it has become the only one.
        self.serve(now);
        Some(connection)
    }

    /// The connection has ended. True if the credential was ever accepted on it.
    pub(in crate::provider::http2) fn closed(&mut self, id: ConnectionId, now: Tick) -> bool {
        let Some((index, member)) = self.member(id) else { return false };
        member.draining = true;
        member.gone = true;
        let accepted = member.accepted;
        if member.in_flight == 0 {
            self.members.remove(index);
        }
        // Whoever avoids a connection may have been waiting for this one to go.
        self.serve(now);
        accepted
    }

    /// Wakes every request whose time is over. One that takes no notice is not woken again.
    pub(in crate::provider::http2) fn sweep(&mut self, now: Tick) {
        for (_, exchange) in &mut self.exchanges {
            if exchange.expires <= now && !exchange.told {
                exchange.told = true;
                exchange.waker.wake_by_ref();
            }
        }
    }

    /// Admits nobody any more, sends away who waits, and retires every connection; returns those to let go.
    pub(in crate::provider::http2) fn close(&mut self) -> Vec<C> {
        self.closing = true;
        for (_, exchange) in &self.exchanges {
            if exchange.holds.is_none() {
                exchange.waker.wake_by_ref();
            }
        }
        self.members
            .iter_mut()
            .filter_map(|(_, member)| {
                (!std::mem::replace(&mut member.draining, true)).then(|| member.connection.clone())
            })
            .collect()
    }

    pub(in crate::provider::http2) fn is_closing(&self) -> bool {
        self.closing
    }

    /// True once no connection is left.
    pub(in crate::provider::http2) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(in crate::provider::http2) fn census(&self) -> Census {
        let draining = self.members.iter().filter(|(_, m)| m.draining).count();
        Census {
            open: self.members.len() - draining,
            draining,
            in_flight: self.exchanges.len() - self.waiting,
            waiting: self.waiting,
            proven: self.members.iter().any(|(_, m)| !m.draining && m.accepted),
        }
    }
}
