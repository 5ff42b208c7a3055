//! Promise: what docs/GETTING_STARTED.md shows works as it stands there, against a gateway without any configuration.

use std::path::{Path, PathBuf};

use sonic_rs::JsonContainerTrait;
use tempfile::TempDir;

use crate::support::admin::Admin;
use crate::support::blocks::{blocks, write_files};
use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::ports;
use crate::support::process::{Process, run};
use crate::support::programs::{link_packages, program_in};
use crate::support::wait::{eventually, eventually_some};
use crate::support::wire;

const DOCUMENT: &str = "docs/GETTING_STARTED.md";

/// The files that the tests below run.
const FILES: [&str; 7] =
    ["client.mjs", "backend.mjs", "backend.py", "backend.go", "chat.html", "chat.mjs", "listen.mjs"];

/// What stands before the other blocks.
const NOT_RUN: [&str; 2] = ["text", "sh setup"];

/// Debian's, which has the libraries that `tools/install-test-deps` installs.
const PYTHON: &str = "/usr/bin/python3";

/// The chat of the document, beside a gateway.
struct Chat {
    folder: TempDir,
    url: String,
    _process: Process,
}

impl Chat {
    #[track_caller]
    fn start(public: std::net::SocketAddr, admin: &Admin, variables: &[(&str, &str)]) -> Chat {
        let folder = files();
        let port = ports::free().port().to_string();
        let (gateway, admin) = (format!("ws://{public}/ws"), format!("http://{}", admin.address));
        let own = [("CHAT_PORT", port.as_str()), ("GATEWAY_URL", &gateway), ("GATEWAY_ADMIN_URL", &admin)];
        let log = folder.path().join("chat.log");
        let variables = [&own, variables].concat();
        let process = Process::start(&mut program_in(folder.path(), &variables, "node", &["chat.mjs"]), &log);
        eventually("the chat listens", || read(&log).contains("the chat is at"));
        Chat { folder, url: format!("http://127.0.0.1:{port}"), _process: process }
    }

    /// Starts `listen.mjs` for a channel; what it prints is in the file.
    #[track_caller]
    fn listen(&self, channel: &str) -> (Process, PathBuf) {
        let log = self.folder.path().join("listen.log");
        let variables = [("CHAT_URL", self.url.as_str())];
        let mut listen = program_in(self.folder.path(), &variables, "node", &["listen.mjs", "bob", channel]);
        (Process::start(&mut listen, &log), log)
    }
}

#[test]
fn every_block_is_run_or_says_that_it_is_not() {
    let blocks = blocks(DOCUMENT);
    let named: Vec<&str> = blocks.iter().filter_map(|block| block.file()).collect();
    assert_eq!(named, FILES);
    let others = blocks.iter().filter(|block| block.file().is_none());
    let unknown: Vec<_> = others.map(|block| &block.info).filter(|info| !NOT_RUN.contains(&info.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_page_of_the_chat_has_the_lines_that_are_promised() {
    let blocks = blocks(DOCUMENT);
    let page = blocks.iter().find(|block| block.file() == Some("chat.html")).expect("the page");
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT)).expect("the document");
    assert!(document.contains(&format!("a page of {} lines", page.text.lines().count())));
}

#[test]
fn two_pages_chat() {
    let gateway = Gateway::start_bare();
    let chat = Chat::start(gateway.public, gateway.admin(), &[]);
    let mut pages = ["ana", "bob <b>"].map(|name| {
        let mut page = Browser::open(&format!("{}/", chat.url));
        page.eventually("the page is ready", "!!document.getElementById('join')?.onsubmit");
        page.evaluate(&format!("document.getElementById('name').value = '{name}'"));
        page.evaluate("document.querySelector('#join button').click()");
        page.eventually("it is connected", "document.getElementById('state').innerText.startsWith('open')");
        page
    });
    gateway.admin().eventually_active(2);
    eventually("both have joined", || {
        let listed = gateway.admin().connections();
        listed.iter().all(|connection| connection.channels.contains(&"conv:lobby".to_owned()))
    });
    for (writer, text) in [(0, "Hello!"), (1, "<i>Hi</i> there")] {
        pages[writer].evaluate(&format!("document.getElementById('text').value = '{text}'"));
        pages[writer].evaluate("document.querySelector('#say button').click()");
        for page in &mut pages {
            page.eventually(
                "everybody sees it",
                &format!("document.getElementById('messages').innerText.includes('{text}')"),
            );
        }
    }
    for page in &mut pages {
        assert_eq!(page.text("messages"), "ana: Hello!\nbob <b>: <i>Hi</i> there");
        assert_eq!(page.faults(), [""; 0], "what the browser complained about");
    }
}

#[test]
fn a_client_comes_back_and_subscribes_again() {
    let scratch = tempfile::tempdir().expect("a temp dir");
    let (public, admin) = (ports::free(), Admin::new(ports::free()));
    let addresses = [public.to_string(), admin.address.to_string()];
    let serve = || {
        let mut command = command();
        command.args(["--listen", &addresses[0], "--admin", &addresses[1]]);
        let process = Process::start(&mut command, &scratch.path().join("log"));
        eventually("it is ready", || admin.try_get("/readyz").is_some_and(|answer| answer.status == 200));
        process
    };
    let mut gateway = serve();
    let chat = Chat::start(public, &admin, &[]);
    let (_listener, log) = chat.listen("conv:c1");
    for text in ["before", "after"] {
        let message = format!(r#"{{"type":"message.new","payload":{{"text":"{text}"}}}}"#);
        eventually("the message has a listener", || admin.broadcast("/broadcast/channel/conv:c1", &message) == 1);
        eventually("it is printed", || read(&log).contains(&message));
        gateway.kill();
        gateway = serve();
    }
    let states: Vec<String> = read(&log).lines().filter(|line| !line.starts_with('{')).map(str::to_owned).collect();
    assert_eq!(states[0].trim_end(), "open", "{states:?}");
    assert!(states[1].starts_with("waiting 1006"), "{states:?}");
}

#[test]
fn a_client_renews_its_token_and_stays() {
    let gateway = Gateway::start(Config::empty().set("auth.expiry_warning", "2s"));
    let chat = Chat::start(gateway.public, gateway.admin(), &[("TOKEN_SECONDS", "4")]);
    let (_listener, log) = chat.listen("conv:c1");
    let expiry = || {
        let listed = gateway.admin().get("/connections?user=bob").json();
        let first = wire::at(&listed, &["connections"])?.as_array()?.first()?.clone();
        Some((wire::string(&first, &["session_id"]).to_owned(), wire::number(&first, &["expires_at"])?))
    };
    let (session, first) = eventually_some("it is connected", expiry);
    eventually("it has renewed twice", || {
        let (same, now) = expiry().unwrap_or_else(|| panic!("it has gone: {}", read(&log)));
        assert_eq!(same, session, "another connection: {}", read(&log));
        now > first + 4
    });
}

#[test]
fn a_token_and_a_message_from_python() {
    assert_mints_and_publishes(files().path(), &[PYTHON, "backend.py"]);
}

#[test]
fn a_token_and_a_message_from_go() {
    let folder = files();
    let cache = folder.path().join("cache").display().to_string();
    let variables = [("GOCACHE", cache.as_str()), ("GOPATH", &cache), ("GOTOOLCHAIN", "local")];
    let built = run(&mut program_in(folder.path(), &variables, "go", &["build", "-o", "backend", "backend.go"]));
    assert_eq!(built.code, Some(0), "{built:?}");
    assert_mints_and_publishes(folder.path(), &["./backend"]);
}

/// `PROGRAM token USER` and `PROGRAM publish CHANNEL TEXT`.
#[track_caller]
fn assert_mints_and_publishes(folder: &Path, program: &[&str]) {
    let gateway = Gateway::start_bare();
    let admin = format!("http://{}", gateway.admin().address);
    let backend = |arguments: &[&str]| {
        let all = [&program[1..], arguments].concat();
        let finished = run(&mut program_in(folder, &[("GATEWAY_ADMIN_URL", &admin)], program[0], &all));
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stdout.trim().to_owned()
    };
    let mut client = Client::connect(&gateway, &backend(&["token", "ana"]));
    client.subscribe(&["conv:a/b+c"]);
    assert_eq!(backend(&["publish", "conv:a/b+c", "Hello!"]), "1");
    assert_eq!(wire::string(&client.expect_type("message.new"), &["payload", "text"]), "Hello!");
}

#[track_caller]
fn files() -> TempDir {
    let folder = tempfile::tempdir().expect("a temp dir");
    write_files(DOCUMENT, folder.path());
    link_packages(folder.path());
    folder
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).expect("its output is text")
}
