//! The floor: a bare HTTP/2 client on the h2 crate, in a process of its own, that sends the worker's requests and nothing else.
//!
//! It has no policy, order, retry or outcome: a few connections, so many requests in flight, each built from its parts and answered with
//! 200. What is the same for all (header names, the provider token) is made once. It takes its requests from a file that the benchmark
//! made of the worker's own pushes.
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Version};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::MEASURED_CORE;
use super::report::Cost;
use super::rounds::measure;
use crate::process;
use crate::stage::Simulator;

/// What the client does, as the benchmark writes it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) ca_file: PathBuf,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) authorization: String,
    pub(crate) samples: Vec<Sample>,
}

/// One push as the worker sent it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) token: String,
    /// Without `authorization`.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// A push as the client keeps it.
struct Prepared {
    token: String,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

/// What all requests share.
struct Client {
    address: SocketAddr,
    authorization: HeaderValue,
    in_flight: usize,
    samples: Vec<Prepared>,
}

impl Client {
    fn new(plan: Plan) -> anyhow::Result<Self> {
        let header = |(name, value): (String, String)| anyhow::Ok((name.parse::<HeaderName>()?, value));
        let prepare = |sample: Sample| {
            let headers = sample.headers.into_iter().map(header).collect::<anyhow::Result<_>>()?;
            anyhow::Ok(Prepared { token: sample.token, headers, body: sample.body })
        };
        let samples = plan.samples.into_iter().map(prepare).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!samples.is_empty(), "there is no sample to send");
        Ok(Self {
            address: plan.address,
            authorization: plan.authorization.parse()?,
            in_flight: plan.in_flight,
            samples,
        })
    }
}

/// The running client, from the benchmark's side; killed when dropped.
pub(crate) struct Floor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Floor {
    /// Starts it on the measured core with so many connections and requests in flight over all of them.
    pub(crate) fn start(
        dir: &Path,
        simulator: &Simulator,
        (connections, in_flight): (usize, usize),
        samples: Vec<Sample>,
    ) -> anyhow::Result<Self> {
        let sandbox = simulator.sandbox();
        let address = sandbox.apns_url().trim_start_matches("https://").parse()?;
        let (ca_file, authorization) = (sandbox.ca_file().to_owned(), authorization(simulator)?);
        let plan = Plan { address, ca_file, connections, in_flight, authorization, samples };
        let file = dir.join("floor.json");
        std::fs::write(&file, serde_json::to_vec(&plan)?)?;
        let mut child = process::pinned(MEASURED_CORE, &std::env::current_exe()?)
            .args(["worker", "--floor"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the floor")?;
        let orders = child.stdin.take().context("the floor has no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("the floor has no standard output")?);
        let mut floor = Self { child, orders, answers };
        floor.wait_done()?;
        Ok(floor)
    }

    fn wait_done(&mut self) -> anyhow::Result<()> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer == "done\n", "the floor failed; its words are above");
        Ok(())
    }

    /// Sends so many requests.
    pub(crate) fn round(&mut self, simulator: &Simulator, requests: u64) -> anyhow::Result<Cost> {
        let base = simulator.accepted();
        writeln!(self.orders, "{requests}").context("the floor has ended")?;
        let cost = measure(self.child.id(), simulator, base, requests)?;
        self.wait_done()?;
        simulator.check()?;
        drop(simulator.sandbox().apns().take_arrivals());
        Ok(cost)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::error!(%error, "a floor process may be left over");
        }
    }
}

/// A provider token as the worker makes it: the same claims, the same length.
fn authorization(simulator: &Simulator) -> anyhow::Result<String> {
    let file = simulator.sandbox().apns().keys().first().context("the simulator has no key")?;
    let key = EncodingKey::from_ec_pem(&std::fs::read(&file.path)?)?;
    let mut header = Header::new(Algorithm::ES256);
    header.typ = None;
    header.kid = Some(file.key.key_id.clone());
    let issued_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - 60;
    let claims = serde_json::json!({ "iss": file.key.team_id, "iat": issued_at });
    Ok(format!("bearer {}", jsonwebtoken::encode(&header, &claims, &key)?))
}

/// Connects and says `done`; then reads a number from each line of standard input, sends so many requests, and says `done` again.
pub(crate) fn run(file: &Path) -> anyhow::Result<()> {
    let plan: Plan = serde_json::from_slice(&std::fs::read(file).context("reading the plan")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ca_file, count) = (plan.ca_file.clone(), plan.connections);
    let client = Arc::new(Client::new(plan)?);
    let connections = runtime.block_on(open(&client, &ca_file, count))?;
    say_done()?;
    for line in std::io::stdin().lock().lines() {
        let count: u64 = line?.trim().parse().context("expected a number of requests")?;
        runtime.block_on(send(&client, &connections, count))?;
        say_done()?;
    }
    Ok(())
}

fn say_done() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "done").and_then(|()| out.flush())
}

async fn open(client: &Client, ca_file: &Path, count: usize) -> anyhow::Result<Vec<SendRequest<Bytes>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file)?)?;
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let mut senders = Vec::new();
    for _ in 0..count {
        let socket = tokio::net::TcpStream::connect(client.address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::from(client.address.ip());
        let line = connector.connect(name, socket).await?;
        // APNs allows one stream until it has seen a good token.
        let (mut sender, connection) = h2::client::Builder::new().initial_max_send_streams(1).handshake(line).await?;
        tokio::spawn(
            async move { connection.await.map_err(|error| tracing::error!(%error, "the floor's connection")) },
        );
        sender = sender.ready().await?;
        push(client, &mut sender, &client.samples[0]).await?;
        while sender.current_max_send_streams() <= 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        senders.push(sender);
    }
    Ok(senders)
}

async fn send(client: &Arc<Client>, connections: &[SendRequest<Bytes>], count: u64) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for place in 0..client.in_flight {
        let (client, next) = (Arc::clone(client), Arc::clone(&next));
        let mut sender = connections[place % connections.len()].clone();
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let sample = &client.samples[number as usize % client.samples.len()];
                sender = sender.ready().await?;
                push(&client, &mut sender, sample).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the floor")?.map_err(|error: anyhow::Error| error.context("the floor's request"))?;
    }
    Ok(())
}

async fn push(client: &Client, sender: &mut SendRequest<Bytes>, sample: &Prepared) -> anyhow::Result<()> {
    let uri = format!("https://{}/3/device/{}", client.address, sample.token);
    let mut request = Request::post(uri).version(Version::HTTP_2).header(AUTHORIZATION, &client.authorization);
    for (name, value) in &sample.headers {
        request = request.header(name, value);
    }
    let (response, mut body) = sender.send_request(request.body(())?, false)?;
    body.send_data(Bytes::copy_from_slice(sample.body.as_bytes()), true)?;
    let response = response.await?;
    ensure!(response.status() == 200, "the simulator refused one of the worker's own requests: {}", response.status());
    Ok(())
}
