//! What a storm of tokens does to those who are there: `cargo bench --bench token_storm`.
//!
//! One shard on one core, the clients on the others. Some clients ping all the time; then everybody else comes at once,
//! with a token in the request, or without and with one in an `auth` message. Prints how long the pings took without
//! and with the storm. It needs `ulimit -n 20000` and a machine that does nothing else.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::client::Client;
use support::config::Config;
use support::gateway::Gateway;
use support::http;
use support::tokens::{Claims, SECRET, key_file};
use support::wire::auth;

const COMERS: usize = 5000;
const ROUNDS: usize = 3;
const BYSTANDERS: usize = 8;
const BETWEEN_PINGS: Duration = Duration::from_millis(2);

fn main() {
    println!("tokens | how | pings before p50 / p99 | in the storm p50 / p99 / max | storm");
    for (algorithm, key) in [("HS256", ""), ("RS256", "rsa"), ("ES256", "p256"), ("ES384", "p384")] {
        let tokens: Vec<String> = (0..COMERS).map(|n| token(algorithm, key, n)).collect();
        for in_a_message in [false, true] {
            for _ in 0..ROUNDS {
                round(algorithm, &tokens, in_a_message);
            }
        }
    }
}

fn token(algorithm: &str, key: &str, n: usize) -> String {
    let claims = Claims::of(&format!("u{n}"));
    if key.is_empty() { claims.sign() } else { claims.sign_by(algorithm, key, None) }
}

fn round(algorithm: &str, tokens: &[String], in_a_message: bool) {
    let files = ["rsa", "p256", "p384"].map(key_file);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let config = Config::new().list("auth.public_keys", &files).set("auth.secret", SECRET);
    let config = config.set("server.shards", 1).set("server.pin", "0").set("limits.handshakes_per_address", 0);
    let config = config.set("limits.handshakes", 2 * COMERS as i64);
    let gateway = Gateway::start(config.set("limits.unauthenticated", 0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut calm = pings(&gateway, &stop, |_| std::thread::sleep(Duration::from_secs(1)));
    let mut took = Duration::ZERO;
    let mut stormy = pings(&gateway, &stop, |gateway| {
        let mut waiting: Vec<TcpStream> = Vec::new();
        if in_a_message {
            waiting = tokens.iter().map(|_| upgraded(gateway, &[])).collect();
        }
        let began = Instant::now();
        if in_a_message {
            for (stream, token) in waiting.iter_mut().zip(tokens) {
                stream.write_all(&support::raw::frame(0x81, auth(token).as_bytes())).expect("it reads");
            }
            for stream in &mut waiting {
                assert!(stream.read(&mut [0; 512]).expect("it answers") > 0);
            }
        } else {
            waiting = tokens.iter().map(|_| http::open(gateway.public)).collect();
            for (stream, token) in waiting.iter_mut().zip(tokens) {
                let bearer = format!("Bearer {token}");
                let request = http::upgrade_request("/ws", &[("Authorization", &bearer)]);
                stream.write_all(request.as_bytes()).expect("it reads");
            }
            for stream in &mut waiting {
                let response = http::read_response(stream).expect("it answers");
                assert_eq!(response.status, 101, "{response:?}");
            }
        }
        took = began.elapsed();
    });
    calm.sort_unstable();
    stormy.sort_unstable();
    let at = |list: &[u64], part: f64| list[((list.len() - 1) as f64 * part) as usize] as f64 / 1000.0;
    let how = if in_a_message { "auth" } else { "upgrade" };
    println!(
        "{algorithm} | {how} | {:.1} / {:.1} ms | {:.1} / {:.1} / {:.1} ms | {:.2} s",
        at(&calm, 0.5),
        at(&calm, 0.99),
        at(&stormy, 0.5),
        at(&stormy, 0.99),
        at(&stormy, 1.0),
        took.as_secs_f64()
    );
}

fn upgraded(gateway: &Gateway, headers: &[(&str, &str)]) -> TcpStream {
    let mut stream = http::open(gateway.public);
    http::upgrade(&mut stream, "/ws", headers).unwrap_or_else(|refusal| panic!("refused: {refusal:?}"));
    stream
}

/// The round trips, in microseconds, of some clients that ping while something is done.
fn pings(gateway: &Gateway, stop: &Arc<AtomicBool>, mut while_doing: impl FnMut(&Gateway)) -> Vec<u64> {
    stop.store(false, Ordering::Relaxed);
    let clients = (0..BYSTANDERS).map(|n| Client::connect(gateway, &Claims::of(&format!("b{n}")).sign()));
    let threads: Vec<_> = clients
        .map(|mut client| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    client.ping();
                    times.push(sent.elapsed().as_micros() as u64);
                    std::thread::sleep(BETWEEN_PINGS);
                }
                times
            })
        })
        .collect();
    while_doing(gateway);
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
}
