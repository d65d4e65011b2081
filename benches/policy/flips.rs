//! The order of a run: processes, load, changes one after the other, then what the outcomes say.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use watchbell::event::NotificationType;
use watchbell::policy::Setting;
use watchbell::sandbox::config::Recording;
use watchbell::sandbox::issuer::config::Persona;

use super::evidence::{Flip, outcomes};
use super::report::{Circumstances, Results};
use super::{Arguments, WITHOUT_REDIS};
use crate::load::Load;
use crate::running::{Role, Running, Setup, free_port};
use crate::stage::{People, Simulator, Topics, fresh_dir, populate, services};

/// The type whose setting is changed, and whose events are the load: one that makes no requests, so that the API has no other work.
const KIND: NotificationType = NotificationType::OtpReceived;
const WORKERS: usize = 3;
/// Partitions of each topic: enough for every worker to have some of the load's, whichever way they are dealt out.
const PARTITIONS: u32 = 12;
const ADMIN: &str = "admin";
/// How long the load may take to reach every worker.
const SPREAD: Duration = Duration::from_secs(60);
/// Events that each worker has read before the first change: caches are filled, connections are open.
const SETTLED: f64 = 2_000.0;
/// Metrics of the workers.
const READ: &str = "watchbell_records_read_total";
const INVALIDATIONS: &str = "watchbell_policy_invalidations_total";
const REDIS_LOST: &str = "watchbell_policy_redis_lost_total";

/// What all processes have in common.
struct Run<'a> {
    arguments: &'a Arguments,
    dir: PathBuf,
    bootstrap: String,
    store_url: String,
    topics: Topics,
    simulator: Simulator,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (target, dir) = fresh_dir("bench-policy")?;
    let name = format!("bench_policy_{}", std::process::id());
    let store_url = new_database(&services("WATCHBELL_TEST_POSTGRES")?, &name)?;
    let people = People { count: arguments.people, workspaces: 1 };
    populate(&store_url, people)?;
    let simulator = Simulator::start(&dir, Recording::Counters)?;
    simulator.sandbox().issuer().set_persona(admin_of(&people.workspace(0)));
    let bootstrap = services("WATCHBELL_TEST_KAFKA")?;
    let run = Run { arguments, dir, bootstrap, store_url, topics: Topics::new(&name), simulator };
    let results = run.measure(people)?;
    let file = target.join("bench-policy.json");
    results.write(&file)?;
    println!("\n{}\nWritten to {}.", results.table(), file.display());
    results.check()?;
    ensure!(
        results.held,
        "the target is missed: p99 {:.1} ms, at most {:.1} ms",
        results.slowest.p99_ms,
        results.target_ms
    );
    Ok(())
}

impl Run<'_> {
    fn measure(&self, people: People) -> anyhow::Result<Results> {
        let redis = if self.arguments.without_redis { None } else { Some(services("WATCHBELL_TEST_REDIS")?) };
        let common: Vec<String> = match &redis {
            Some(url) => vec![format!("policy.redis_url = {url:?}")],
            None => WITHOUT_REDIS.map(str::to_owned).to_vec(),
        };
        let common = [&common[..], &self.arguments.settings].concat();
        let topics: Vec<Topics> =
            (1..=WORKERS).map(|number| self.topics.with_outcomes_of(&format!("worker-{number}"))).collect();
        let mut workers = Vec::new();
        for (number, topics) in (1..).zip(&topics) {
            workers.push(self.start(Role::Worker, &format!("worker-{number}"), topics, &common)?);
        }
        let port = free_port()?;
        let settings = [&common[..], &self.sign_in(port)].concat();
        // It reads one worker's outcomes, as it reads all of them elsewhere: people look back on them.
        let mut api = self.start(Role::Api, "api", &topics[0], &settings)?;
        for process in workers.iter_mut().chain([&mut api]) {
            process.wait_ready()?;
        }
        println!(
            "{WORKERS} workers and an API run; {} changes under {} events a second",
            self.arguments.flips, self.arguments.per_second
        );
        let mut load = Load::new(&self.bootstrap, self.topics.clone(), people, &[KIND])?;
        let goes_on = AtomicBool::new(true);
        let flips = std::thread::scope(|scope| {
            let producing =
                scope.spawn(|| load.open_while(self.arguments.per_second, &|| goes_on.load(Ordering::Relaxed)));
            let flips = settle(&workers).and_then(|()| self.flip(port, &people.workspace(0)));
            goes_on.store(false, Ordering::Relaxed);
            producing.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
            flips
        })?;
        for process in workers.iter_mut().chain([&mut api]) {
            process.check()?;
        }
        self.simulator.check()?;
        let names: Vec<&str> = topics.iter().map(Topics::outcomes).collect();
        let uses = outcomes(&self.bootstrap, &names, load.count())?;
        let sum = |name| workers.iter().map(|worker| worker.metric(name)).collect();
        let circumstances = Circumstances {
            redis: redis.is_some(),
            target_ms: self.arguments.target_ms(),
            people: people.count,
            invalidations: sum(INVALIDATIONS),
            redis_lost: sum(REDIS_LOST),
        };
        Results::of(&flips, &uses, circumstances)
    }

    fn start(&self, role: Role, name: &str, topics: &Topics, settings: &[String]) -> anyhow::Result<Running> {
        let Self { dir, bootstrap, store_url, simulator, .. } = self;
        Running::start(&Setup {
            role,
            name,
            dir,
            bootstrap,
            topics,
            store_url,
            simulator,
            settings,
            core: None,
            partitions: PARTITIONS,
        })
    }

    /// Where the API is, and who lets people in.
    fn sign_in(&self, port: u16) -> [String; 4] {
        let (sandbox, issuer) = (self.simulator.sandbox(), self.simulator.sandbox().issuer());
        [
            format!("api.http_listen = \"127.0.0.1:{port}\""),
            format!("auth.issuer = {:?}", issuer.url()),
            format!("auth.audience = [{:?}]", issuer.audience()),
            format!("auth.ca_file = {:?}", sandbox.ca_file()),
        ]
    }

    /// Changes the setting again and again.
    fn flip(&self, port: u16, workspace: &str) -> anyhow::Result<Vec<Flip>> {
        let url = format!("http://127.0.0.1:{port}/v1/workspaces/{workspace}/settings/{}", KIND.name());
        let token = self.simulator.sandbox().issuer().token(ADMIN).context("the issuer does not know the admin")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = reqwest::Client::new();
            let mut flips = Vec::with_capacity(self.arguments.flips);
            let pause_ms = self.arguments.pause_ms();
            let half = pause_ms / 2;
            for number in 0..self.arguments.flips {
                // At random, so that no period of ours meets one of theirs.
                let pause = rand::random_range(half..=half + pause_ms);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let to = if number % 2 == 0 { Setting::Disabled } else { Setting::Enabled };
                let body = serde_json::json!({ "setting": to.name() });
                let request = client.put(&url).bearer_auth(&token).json(&body);
                let asked = Instant::now();
                let answer = request.send().await.context("changing the setting")?;
                let (acknowledged_us, took) = (now_us()?, asked.elapsed());
                let status = answer.status();
                let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
                let text = answer.text().await?;
                ensure!(status == 200, "the API answered {status}: {text}");
                let said: serde_json::Value = serde_json::from_str(&text)?;
                // The tag of a workspace's settings is the workspace's version.
                let version = tag.trim_matches('"').trim_start_matches('s').parse().context("the answer's tag")?;
                let announced = said.get("in_force_within_s") == Some(&0.into());
                flips.push(Flip { version, acknowledged_us, took, to, announced });
            }
            // The last one is to be seen too.
            tokio::time::sleep(Duration::from_millis(2 * pause_ms)).await;
            Ok(flips)
        })
    }
}

/// Waits until every worker has its share of the load.
fn settle(workers: &[Running]) -> anyhow::Result<()> {
    let started = Instant::now();
    for worker in workers {
        while worker.metric(READ) < SETTLED {
            ensure!(started.elapsed() < SPREAD, "a worker gets hardly any of the events: run it again");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

fn now_us() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64)
}

fn admin_of(workspace: &str) -> Persona {
    Persona {
        name: ADMIN.to_owned(),
        user: "an-admin".to_owned(),
        workspaces: BTreeMap::from([(workspace.to_owned(), "admin".to_owned())]),
        operator: false,
        acr: None,
        auth_age_s: 0,
        claims: serde_json::Map::new(),
    }
}

/// A database of that name on the server of the tests.
fn new_database(server: &str, name: &str) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = PgConnection::connect(server).await.context("connecting to PostgreSQL")?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        anyhow::Ok(())
    })?;
    let (base, _) = server.rsplit_once('/').context("the URL of PostgreSQL names no database")?;
    Ok(format!("{base}/{name}"))
}
