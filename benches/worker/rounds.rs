//! The order of a run: prepare, warm up, take turns, then at 30 %, then with as many in flight as may be.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use watchbell::event::NotificationType;
use watchbell::sandbox::config::Recording;
use watchbell::sandbox::fault::{Fault, Provider, Rule};

use super::floor::{Floor, Sample};
use super::latency::Latencies;
use super::report::{Calm, Cost, Crowd, Pair, Results, median, pair_line, ratios};
use super::{Arguments, MEASURED_CORE, OTHER_CORE};
use crate::load::Load;
use crate::process;
use crate::running::{Role, Running, Setup};
use crate::stage::{People, Simulator, Topics, fresh_dir, populate, services};

/// People are spread over so many workspaces.
const WORKSPACES: u64 = 100;
/// Partitions of each topic: one worker needs no more, its order is by key, and a broker that shares a core pays for each batch and each
/// fetch by partition.
const PARTITIONS: u32 = 1;
/// The cache is to be hot; a run may last longer than the minute for which an entry lives by default.
const HOT_CACHE: [&str; 2] = ["policy.ttl_s = 3600", "policy.max_stale_s = 3600"];
/// How long nothing may arrive before a round is given up.
const STILL: Duration = Duration::from_secs(60);
/// Pushes that the floor sends again and again.
const SAMPLES: u64 = 2_000;
/// Connections of a credential by default, which the floor opens too.
const CONNECTIONS: usize = 4;
/// The share of a round at its beginning that is not measured: caches, windows and batches settle.
const SETTLING: f64 = 0.1;
/// Events in flight for the memory's peak.
const CROWD: u64 = 10_000;
/// How long the simulator then takes for each answer.
const CROWD_LATENCY_MS: u64 = 2_000;
/// The worker's metrics of open streams and of cached entries.
const STREAMS: &str = "watchbell_provider_streams_in_flight";
const CACHED: &str = "watchbell_cache_entries";

/// What a whole run has in common.
struct Run<'a> {
    arguments: &'a Arguments,
    dir: PathBuf,
    bootstrap: String,
    store_url: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bootstrap = services("WATCHBELL_TEST_KAFKA")?;
    process::pin(std::process::id(), OTHER_CORE)?;
    pin_broker()?;
    let (target, dir) = fresh_dir("bench")?;
    let store_url = format!("sqlite:{}", dir.join("policy.db").display());
    println!("{} people with a device each", arguments.recipients);
    let run = Run { arguments, dir, bootstrap, store_url };
    populate(&run.store_url, run.people())?;
    let samples = run.samples()?;
    let simulator = Simulator::start(&run.dir, Recording::Arrivals)?;
    let mut results = run.rounds(&simulator, samples)?;
    if !arguments.rounds_only {
        results.crowd = Some(run.crowd(&simulator)?);
    }
    let file = target.join("bench.json");
    results.write(&file)?;
    println!("\n{}\nWritten to {}.", results.table(), file.display());
    Ok(())
}

/// The broker that `tests/services/run` started leaves its pid beside its data.
fn pin_broker() -> anyhow::Result<()> {
    let dir = services("WATCHBELL_TEST_DIR")?;
    let pid = std::fs::read_to_string(Path::new(&dir).join("kafka/pid")).context("finding the broker")?;
    process::pin(pid.trim().parse()?, OTHER_CORE)
}

/// Waits until `count` pushes were accepted.
fn until_accepted(simulator: &Simulator, count: u64) -> anyhow::Result<()> {
    let (mut last, mut since) = (simulator.accepted(), Instant::now());
    while last < count {
        std::thread::sleep(Duration::from_millis(2));
        let now = simulator.accepted();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        ensure!(since.elapsed() < STILL, "nothing arrives any more: {last} of {count}; see target/bench/*.log");
    }
    Ok(())
}

/// What `count` pushes beyond the first `base` cost a process, without the share in which it settles.
pub(crate) fn measure(pid: u32, simulator: &Simulator, base: u64, count: u64) -> anyhow::Result<Cost> {
    until_accepted(simulator, base + settling(count))?;
    let look = || anyhow::Ok((Instant::now(), simulator.accepted(), process::cpu(pid)?, simulator.cpu()?));
    let (began, first, cpu, simulator_cpu) = look()?;
    until_accepted(simulator, base + count)?;
    let (ended, last, cpu_after, simulator_cpu_after) = look()?;
    let (pushes, wall, used) = ((last - first) as f64, (ended - began).as_secs_f64(), (cpu_after - cpu).as_secs_f64());
    Ok(Cost {
        cpu_us: used * 1e6 / pushes,
        per_second: pushes / wall,
        busy: used / wall,
        simulator_us: (simulator_cpu_after - simulator_cpu).as_secs_f64() * 1e6 / pushes,
    })
}

fn settling(count: u64) -> u64 {
    (count as f64 * SETTLING) as u64
}

impl Run<'_> {
    fn setup<'a>(
        &'a self,
        name: &'a str,
        topics: &'a Topics,
        simulator: &'a Simulator,
        settings: &'a [String],
    ) -> Setup<'a> {
        let (dir, bootstrap, store_url) = (&self.dir, &self.bootstrap, &self.store_url);
        let (role, core) = (Role::Worker, Some(MEASURED_CORE));
        Setup { role, name, dir, bootstrap, topics, store_url, simulator, settings, core, partitions: PARTITIONS }
    }

    /// A worker that is ready.
    fn worker(
        &self,
        name: &str,
        topics: &Topics,
        simulator: &Simulator,
        settings: &[String],
    ) -> anyhow::Result<Running> {
        let settings = [&HOT_CACHE.map(str::to_owned)[..], settings].concat();
        let mut worker = Running::start(&self.setup(name, topics, simulator, &settings))?;
        worker.wait_ready()?;
        Ok(worker)
    }

    fn people(&self) -> People {
        People { count: self.arguments.recipients, workspaces: WORKSPACES }
    }

    /// Events of all rounds of the worker.
    fn events(&self) -> f64 {
        self.arguments.rounds as f64 * self.arguments.events as f64
    }

    fn topics(&self, name: &str) -> anyhow::Result<(Topics, Load)> {
        let topics = Topics::new(&format!("bench-{}-{name}", std::process::id()));
        let load = Load::new(&self.bootstrap, topics.clone(), self.people(), &NotificationType::ALL)?;
        Ok((topics, load))
    }

    /// What the worker really sends, from a short run against a simulator that keeps everything.
    fn samples(&self) -> anyhow::Result<Vec<Sample>> {
        let simulator = Simulator::start(&self.dir, Recording::Full)?;
        let (topics, mut load) = self.topics("samples")?;
        let worker = self.worker("samples", &topics, &simulator, &self.arguments.settings)?;
        load.closed(SAMPLES, SAMPLES, &|| simulator.accepted())?;
        until_accepted(&simulator, SAMPLES)?;
        simulator.check()?;
        drop(worker);
        let pushes = simulator.sandbox().apns().pushes();
        let sample = |push: &std::sync::Arc<watchbell::sandbox::apns::inbox::Push>| {
            let body = push.payload.to_string();
            ensure!(body.len() == push.payload_bytes, "a payload changed its length when it was written again");
            let headers = push.headers.iter().filter(|(name, _)| !name.starts_with(':')).cloned().collect();
            Ok(Sample { token: push.token.clone(), headers, body })
        };
        pushes.iter().map(sample).collect()
    }

    /// Worker and floor in turn, then the worker at 30 %.
    fn rounds(&self, simulator: &Simulator, samples: Vec<Sample>) -> anyhow::Result<Results> {
        let arguments = self.arguments;
        let (topics, mut load) = self.topics("rounds")?;
        let mut worker = self.worker("worker", &topics, simulator, &arguments.settings)?;
        println!("warming up: one event for each recipient");
        let seen = self.warm_up(&worker, simulator, &mut load)?;
        let in_flight = arguments.in_flight.unwrap_or(seen);
        let mut floor = Floor::start(&self.dir, simulator, (CONNECTIONS, in_flight), samples)?;
        floor.round(simulator, arguments.recipients)?;
        let (mut pairs, mut latencies, mut by_thread) = (Vec::new(), Vec::new(), BTreeMap::new());
        for number in 1..=arguments.rounds {
            let before = process::threads(worker.pid())?;
            let (cost, latency) = self.worker_round(&worker, simulator, &mut load, arguments.events)?;
            worker.check()?;
            for (name, used) in process::threads(worker.pid())? {
                let used = used.saturating_sub(before.get(&name).copied().unwrap_or_default());
                *by_thread.entry(name).or_insert(0.0) += used.as_secs_f64() * 1e6 / self.events();
            }
            let pair = Pair { worker: cost, floor: floor.round(simulator, arguments.events)? };
            println!("{}", pair_line(number, &pair));
            pairs.push(pair);
            latencies.push(latency);
        }
        drop(floor);
        let pushes_per_s = median(pairs.iter().map(|pair| pair.worker.per_second));
        let (ratio, ratio_range) = ratios(&pairs);
        let percentile = |share| median(latencies.iter().map(|latency| latency.percentile_ms(share)));
        let mut results = Results {
            pushes_per_s,
            cpu_us_per_push: median(pairs.iter().map(|pair| pair.worker.cpu_us)),
            floor_cpu_us_per_push: median(pairs.iter().map(|pair| pair.floor.cpu_us)),
            ratio,
            ratio_range,
            p50_ms: percentile(0.5),
            p99_ms: percentile(0.99),
            p999_ms: percentile(0.999),
            outstanding: arguments.outstanding,
            floor_in_flight: in_flight,
            connections: CONNECTIONS,
            worker_core_busy: median(pairs.iter().map(|pair| pair.worker.busy)),
            simulator_us_per_push: median(pairs.iter().map(|pair| pair.worker.simulator_us)),
            rounds_peak_rss_mib: process::memory_mib(worker.pid(), "VmHWM")?,
            cpu_us_by_thread: by_thread,
            rounds: arguments.rounds,
            recipients: arguments.recipients,
            calm: None,
            crowd: None,
        };
        if !arguments.rounds_only {
            println!("at 30 %: {:.0} events a second", pushes_per_s * 0.3);
            results.calm = Some(self.calm(&worker, simulator, &mut load, pushes_per_s * 0.3)?);
        }
        Ok(results)
    }

    /// Fills the cache, and looks how many requests the worker usually has in flight.
    fn warm_up(&self, worker: &Running, simulator: &Simulator, load: &mut Load) -> anyhow::Result<usize> {
        let (done, mut seen) = (AtomicBool::new(false), Vec::new());
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut seen = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    seen.push(worker.metric(STREAMS));
                    std::thread::sleep(Duration::from_millis(50));
                }
                seen
            });
            let round = self.worker_round(worker, simulator, load, self.arguments.recipients);
            done.store(true, Ordering::Relaxed);
            seen = looking.join().map_err(|_| anyhow::anyhow!("the look at the streams panicked"))?;
            round
        })?;
        // The worker counts its entries every few seconds.
        let counted = Instant::now();
        while worker.metric(CACHED) < self.arguments.recipients as f64 {
            ensure!(counted.elapsed() < STILL, "only {} recipients are cached", worker.metric(CACHED));
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(median(seen.into_iter().filter(|streams| *streams > 0.0)) as usize)
    }

    /// So many events at full speed: what they cost and how long each took.
    fn worker_round(
        &self,
        worker: &Running,
        simulator: &Simulator,
        load: &mut Load,
        events: u64,
    ) -> anyhow::Result<(Cost, Latencies)> {
        drop(simulator.sandbox().apns().take_arrivals());
        let (base, first) = (simulator.accepted(), load.count());
        // The load counts all events since its own beginning; the simulator counts what the floor sent, too.
        let accepted = || simulator.accepted() - base + first;
        let cost = std::thread::scope(|scope| {
            let producing = scope.spawn(|| load.closed(events, self.arguments.outstanding, &accepted));
            let cost = measure(worker.pid(), simulator, base, events);
            producing.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
            cost
        })?;
        simulator.check()?;
        let latencies =
            Latencies::join(&load.since(first + settling(events)), &simulator.sandbox().apns().take_arrivals())?;
        Ok((cost, latencies))
    }

    /// At that rate, far below the full one.
    fn calm(&self, worker: &Running, simulator: &Simulator, load: &mut Load, per_second: f64) -> anyhow::Result<Calm> {
        drop(simulator.sandbox().apns().take_arrivals());
        let (base, first, cpu) = (simulator.accepted(), load.count(), process::cpu(worker.pid())?);
        load.open(per_second, Duration::from_secs(self.arguments.calm_seconds))?;
        let events = load.count() - first;
        until_accepted(simulator, base + events)?;
        let used = process::cpu(worker.pid())?.saturating_sub(cpu);
        simulator.check()?;
        let latencies = Latencies::join(&load.since(first), &simulator.sandbox().apns().take_arrivals())?;
        Ok(Calm {
            p50_ms_at_30_percent: latencies.percentile_ms(0.5),
            p99_ms_at_30_percent: latencies.percentile_ms(0.99),
            p999_ms_at_30_percent: latencies.percentile_ms(0.999),
            cpu_us_per_push_at_30_percent: used.as_secs_f64() * 1e6 / events as f64,
        })
    }

    /// The memory of a worker of its own with everybody cached and as many in flight as may be.
    fn crowd(&self, simulator: &Simulator) -> anyhow::Result<Crowd> {
        println!("{CROWD} in flight, each answered after {CROWD_LATENCY_MS} ms");
        let (topics, mut load) = self.topics("crowd")?;
        let settings = [&self.arguments.settings[..], &crowd_settings()].concat();
        let worker = self.worker("crowd", &topics, simulator, &settings)?;
        self.warm_up(&worker, simulator, &mut load)?;
        let latency = Fault::Latency { ms: CROWD_LATENCY_MS, jitter_ms: 0 };
        let fault = simulator.sandbox().add_fault(Rule::always(Provider::Apns, latency));
        let (base, first) = (simulator.accepted(), load.count());
        let accepted = || simulator.accepted() - base + first;
        let events = 4 * CROWD;
        let peak = std::thread::scope(|scope| {
            // A little more than may be in flight, so that none of it ever waits for the load.
            let producing = scope.spawn(|| load.closed(events, CROWD + CROWD / 5, &accepted));
            let mut peak = 0.0_f64;
            while !producing.is_finished() {
                peak = peak.max(worker.metric(STREAMS));
                std::thread::sleep(Duration::from_millis(100));
            }
            producing.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
            anyhow::Ok(peak)
        })?;
        until_accepted(simulator, base + events)?;
        ensure!(simulator.sandbox().remove_fault(fault), "the latency was not in force");
        simulator.check()?;
        ensure!(peak >= 0.95 * CROWD as f64, "only {peak} were in flight at once, of {CROWD}");
        Ok(Crowd { peak_in_flight: peak as u64, peak_rss_mib: process::memory_mib(worker.pid(), "VmHWM")? })
    }
}

/// Room for so many events, evenly over the types, and connections for as many streams at 1,000 each.
fn crowd_settings() -> [String; 6] {
    let part = CROWD / NotificationType::COUNT as u64;
    let of_type = |kind: NotificationType| format!("in_flight.{} = {part}", kind.name());
    let [a, b, c, d] = NotificationType::ALL.map(of_type);
    // Beside the events, the defaults for jobs and the rest.
    [a, b, c, d, format!("in_flight.max = {}", CROWD + 2_000), format!("provider.pool.connections = {}", CROWD / 1_000)]
}
