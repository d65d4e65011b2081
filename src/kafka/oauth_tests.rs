use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::*;

/// More than a wait for what is there, and less than any wait for the endpoint.
const AT_ONCE: Duration = Duration::from_secs(2);
/// When a test gives up.
const CEILING: Duration = Duration::from_secs(30);

/// A token endpoint that counts who asks, and hangs when told: it takes a connection and never answers.
struct Endpoint {
    url: String,
    asked: AtomicUsize,
    hangs: AtomicBool,
    life_secs: u64,
}

impl Endpoint {
    fn start(life_secs: u64) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let endpoint = Arc::new(Self { url, asked: AtomicUsize::new(0), hangs: AtomicBool::new(false), life_secs });
        let served = Arc::clone(&endpoint);
        // The thread ends with the test's process.
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().filter_map(Result::ok) {
                let nth = served.asked.fetch_add(1, SeqCst) + 1;
                match served.hangs.load(SeqCst) {
                    true => open.push(stream),
                    false => served.answer(stream, nth),
                }
            }
        });
        endpoint
    }

    fn answer(&self, mut stream: TcpStream, nth: usize) {
        let mut request = Vec::new();
        while !request.ends_with(b"grant_type=client_credentials") {
            let mut part = [0; 1024];
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "the request ended early");
            request.extend_from_slice(&part[..read]);
        }
        let body = format!(r#"{{"access_token":"token-{nth}","expires_in":{}}}"#, self.life_secs);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn source(&self) -> Arc<TokenSource> {
        let config = format!("token_url = {:?}\nclient_id = \"client\"\nclient_secret = \"secret\"", self.url);
        let config = format!("protocol = \"sasl_ssl\"\nsasl_mechanism = \"oauthbearer\"\n{config}");
        TokenSource::new(&toml::from_str(&config).unwrap()).unwrap()
    }
}

/// Asks as a client's thread would: blocking, beside the runtime. So much later as the token sees it, and as a failure does.
async fn ask(source: &Arc<TokenSource>, after: Duration, since_failure: Duration) -> Result<String, String> {
    let source = Arc::clone(source);
    let asked = move || source.token_at(SystemTime::now() + after, Instant::now() + since_failure);
    tokio::task::spawn_blocking(asked).await.unwrap().map(|token| token.token)
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < CEILING, "gave up waiting for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// While the token in hand lives, an endpoint that hangs holds nobody up, and is asked by one request at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_living_token_does_not_wait_for_the_next() {
    let endpoint = Endpoint::start(1_000);
    let source = endpoint.source();
    assert_eq!(ask(&source, Duration::ZERO, Duration::ZERO).await.unwrap(), "token-1");
    endpoint.hangs.store(true, SeqCst);
    let (due, started) = (Duration::from_secs(800), Instant::now());
    for _client in 0..4 {
        assert_eq!(ask(&source, due, Duration::ZERO).await.unwrap(), "token-1");
    }
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    eventually("the one request", || endpoint.asked() == 2).await;
    // It fails after a while; the token is good as before, and the endpoint gets a rest.
    eventually("the failure", || source.lock().failure.is_some()).await;
    assert_eq!(ask(&source, due, Duration::ZERO).await.unwrap(), "token-1");
    assert_eq!(endpoint.asked(), 2);
    endpoint.hangs.store(false, SeqCst);
    assert_eq!(ask(&source, due, FAILURE_LIFE).await.unwrap(), "token-1");
    eventually("the next token", || source.lock().failure.is_none()).await;
    assert_eq!(ask(&source, due, FAILURE_LIFE).await.unwrap(), "token-3");
}

/// Without a token in hand the first client waits, for less than a session; the others hear of its failure at once, until it is worth
/// another try.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failure_is_remembered() {
    let endpoint = Endpoint::start(1_000);
    endpoint.hangs.store(true, SeqCst);
    let source = endpoint.source();
    let failure = ask(&source, Duration::ZERO, Duration::ZERO).await.unwrap_err();
    assert!(failure.contains(&endpoint.url) && !failure.contains("secret"), "{failure}");
    let started = Instant::now();
    for _client in 0..3 {
        assert_eq!(ask(&source, Duration::ZERO, Duration::ZERO).await.unwrap_err(), failure);
    }
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert_eq!(endpoint.asked(), 1);
    endpoint.hangs.store(false, SeqCst);
    assert_eq!(ask(&source, Duration::ZERO, FAILURE_LIFE).await.unwrap(), "token-2");
}

/// The next token is there before anybody asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tokens_are_renewed_ahead() {
    let endpoint = Endpoint::start(1);
    let source = endpoint.source();
    assert_eq!(ask(&source, Duration::ZERO, Duration::ZERO).await.unwrap(), "token-1");
    eventually("the third token", || endpoint.asked() >= 3).await;
}
