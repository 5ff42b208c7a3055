//! Promise: what docs/integrations/http.md and events.md show works as it stands there.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::support::blocks::{blocks, write_files};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::ports;
use crate::support::process::{Process, run};
use crate::support::programs::program_in;
use crate::support::tokens::{SECRET, now, token};
use crate::support::wait::eventually;
use crate::support::wire;

const HTTP: &str = "docs/integrations/http.md";
const EVENTS: &str = "docs/integrations/events.md";

/// Debian's.
const PYTHON: &str = "/usr/bin/python3";

const SHARED: &str = "what only the gateway and its backend know of";

/// A program of a document.
struct Program {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Program {
    #[track_caller]
    fn start(document: &str, arguments: &[&str]) -> Program {
        let folder = tempfile::tempdir().expect("a temp dir");
        write_files(document, folder.path());
        let address = ports::free();
        let port = address.port().to_string();
        let variables = [("PORT", port.as_str()), ("SHARED_SECRET", SHARED)];
        let mut program = program_in(folder.path(), &variables, arguments[0], &arguments[1..]);
        let process = Process::start(&mut program, &folder.path().join("log"));
        eventually("it listens", || std::net::TcpStream::connect(address).is_ok());
        Program { address, _process: process, _folder: folder }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

#[test]
fn the_configurations_are_taken_as_pasted() {
    for document in [HTTP, EVENTS] {
        let block = blocks(document).into_iter().find(|block| block.info == "toml").expect("a configuration");
        let folder = tempfile::tempdir().expect("a temp dir");
        let path = Config::parse(&block.text).set("auth.secret", SECRET).write(folder.path());
        let checked = run(command().arg("check-config").arg("--config").arg(&path));
        assert_eq!(checked.code, Some(0), "{document}: {checked:?}");
        let config = Config::parse(&block.text).set("auth.secret", SECRET);
        let gateway = Gateway::start(config);
        assert!(gateway.admin().get("/readyz").body.contains(r#""kind":"http""#), "{document}");
    }
}

#[test]
fn the_batch_that_is_shown_is_one() {
    let batch = blocks(EVENTS).into_iter().find(|block| block.info == "json").expect("a batch");
    assert_eq!(wire::kind(&wire::json(&batch.text)), "connection_events");
}

#[test]
fn the_backend_in_node_believes_the_gateway_alone() {
    assert_believes_the_gateway_alone(&Program::start(HTTP, &["node", "backend.mjs"]));
}

#[test]
fn the_backend_in_python_believes_the_gateway_alone() {
    assert_believes_the_gateway_alone(&Program::start(HTTP, &[PYTHON, "backend.py"]));
}

#[track_caller]
fn assert_believes_the_gateway_alone(backend: &Program) {
    for (secret, kind) in [(SHARED, "heard"), ("another one, which is as long as the first", "error")] {
        let url = backend.url();
        let service = format!("[[services]]\nname = 'chat'\nkind = 'http'\nurl = '{url}'\nsecret = '{secret}'\n");
        let gateway = Gateway::start(Config::new().with(&service));
        eventually("the backend is reached", || gateway.admin().get("/readyz").body.contains(r#""state":"connected""#));
        let mut client = Client::connect(&gateway, &token("gr\u{f6}\u{df}e \u{1f980}%"));
        client.send(r#"{"type":"subscribe_clan_chat","clanId":"k1"}"#);
        client.expect_type("subscription_confirmed");
        for n in 0..3 {
            client.send(&format!(r#"{{"type":"chat","clanId":"k1","content":"{n} \u0000 é","id":{n}}}"#));
            let answer = client.expect_type(kind);
            if kind == "heard" {
                assert_eq!(wire::string(&answer, &["from"]), "gr\u{f6}\u{df}e \u{1f980}%");
                assert_eq!(wire::string(&answer, &["what"]), "chat");
            } else {
                assert_eq!(wire::string(&answer, &["payload", "code"]), "service_refused");
            }
        }
    }
    let (body, time) = (r#"{"type":"chat"}"#, now());
    for (what, signature, status) in [
        ("as the gateway does", signature(SHARED, time, body), 200),
        ("without", String::new(), 401),
        ("of another body", signature(SHARED, time, "{}"), 401),
        ("with another secret", signature("x", time, body), 401),
        ("too old", signature(SHARED, time - 600, body), 401),
        ("another time than signed", signature(SHARED, time, body).replace("t=1", "t=2"), 401),
        ("no hex", format!("t={time},v1=zz"), 401),
    ] {
        assert_eq!(posted(&backend.url(), &signature, body), status, "{what}");
    }
}

/// A signature that another program has made.
fn signature(secret: &str, time: i64, body: &str) -> String {
    let folder = tempfile::tempdir().expect("a temp dir");
    std::fs::write(folder.path().join("signed"), format!("{time}.{body}")).expect("the temp dir is writable");
    let hmac = ["dgst", "-sha256", "-hmac", secret, "-r", "signed"];
    let digest = run(&mut program_in(folder.path(), &[], "openssl", &hmac)).stdout;
    format!("t={time},v1={}", digest.split(' ').next().expect("a digest"))
}

fn posted(url: &str, signature: &str, body: &str) -> u16 {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.post(url).header("Ringway-User-Id", "ana");
    if !signature.is_empty() {
        request = request.header("Ringway-Signature", signature);
    }
    request.send(body).unwrap_or_else(|error| panic!("no answer: {error}")).status().as_u16()
}

#[test]
fn the_backend_that_knows_who_is_online_does() {
    let backend = Program::start(EVENTS, &["node", "online.mjs"]);
    let online = || {
        let answer = ureq::get(backend.url()).call().expect("it answers").body_mut().read_to_string();
        answer.expect("text")
    };
    let url = backend.url();
    let service = format!("[[services]]\nname = 'watch'\nkind = 'http'\nurl = '{url}'\n");
    let config = Config::new().with(&service).set("events.service", "watch").set("server.id", "node-1");
    let mut gateway = Gateway::start(config.clone());
    let clients = ["ana", "bob", "bob"].map(|user| Client::connect(&gateway, &token(user)));
    eventually("both are online", || online() == r#"["ana","bob"]"#);
    let [ana, bob, bob_again] = clients;
    ana.close();
    bob.close();
    eventually("one of them is", || online() == r#"["bob"]"#);
    gateway.process().kill();
    drop((gateway, bob_again));
    assert_eq!(online(), r#"["bob"]"#, "nobody could tell of it");
    let _next = Gateway::start(config);
    eventually("the next start has", || online() == "[]");
}

#[test]
fn every_block_is_run_or_says_that_it_is_not() {
    for (document, expected) in [
        (HTTP, vec!["toml", "text", "js file=backend.mjs", "py file=backend.py"]),
        (EVENTS, vec!["toml", "json", "js file=online.mjs"]),
    ] {
        let found: Vec<String> = blocks(document).into_iter().map(|block| block.info).collect();
        assert_eq!(found, expected, "{document}");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(document).is_file());
    }
}
