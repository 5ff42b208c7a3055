//! A real browser without a window: Chromium, spoken to over its debugging protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>). Called by the tests of the dashboard.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value, json};
use tempfile::TempDir;
use tungstenite::{Error, Message, WebSocket};

use super::process::Process;
use super::wait::{DEADLINE, eventually, eventually_some};
use super::wire;

/// No sandbox, as tests may run as root; no shared memory, of which containers have little; nothing that
/// would reach out of this machine.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
];

/// How long one read may wait before the deadline is looked at again.
const READ_TIMEOUT: Duration = Duration::from_millis(50);

/// Whether an element shows this text: an expression for [`Browser::eventually`].
pub fn shows(id: &str, text: &str) -> String {
    format!("document.getElementById('{id}')?.innerText === '{text}'")
}

/// A browser with one page. Killed on drop.
pub struct Browser {
    socket: WebSocket<TcpStream>,
    commands: u64,
    /// Exceptions, errors on the console and breaches of the page's policy so far.
    faults: Vec<String>,
    _process: Process,
    _folder: TempDir,
}

impl Browser {
    #[track_caller]
    pub fn open(url: &str) -> Browser {
        let folder = tempfile::tempdir().expect("a temp dir");
        let profile = folder.path().join("profile");
        let mut command = Command::new("chromium");
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
        let process = Process::start(&mut command, &folder.path().join("log"));
        let port = eventually_some("chromium listens", || {
            let file = std::fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
            file.lines().next()?.parse::<u16>().ok()
        });
        let page = eventually_some("chromium has a page", || debugger_of_page(port));
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("chromium listens");
        let (socket, _) = tungstenite::client(&page, stream).expect("chromium speaks WebSocket");
        socket.get_ref().set_read_timeout(Some(READ_TIMEOUT)).expect("the timeout is not zero");
        let mut browser = Browser { socket, commands: 0, faults: Vec::new(), _process: process, _folder: folder };
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.command(domain, json!({}));
        }
        browser.command("Page.navigate", json!({ "url": url }));
        browser.eventually("the page is there", &format!("location.href.startsWith('{url}')"));
        browser
    }

    /// What an expression is in the page, as a string.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> String {
        self.try_evaluate(expression).unwrap_or_else(|answer| panic!("{expression}: {answer:?}"))
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn eventually(&mut self, what: &str, expression: &str) {
        // Between two pages there may be nothing to ask.
        eventually(what, || self.try_evaluate(expression).is_ok_and(|value| value == "true"));
    }

    /// The text of an element.
    #[track_caller]
    pub fn text(&mut self, id: &str) -> String {
        self.evaluate(&format!("document.getElementById('{id}')?.innerText"))
    }

    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Neither the page, which counts its errors, nor the browser has found anything wrong, and all came from one
    /// origin.
    #[track_caller]
    pub fn assert_no_faults(&mut self) {
        assert_eq!(self.evaluate("document.documentElement.dataset.errors"), "0");
        assert_eq!(self.faults, [""; 0], "what the browser complained about");
        let from_here = "performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin + '/'))";
        assert_eq!(self.evaluate(from_here), "true", "nothing comes from elsewhere");
    }

    fn try_evaluate(&mut self, expression: &str) -> Result<String, Value> {
        let expression = format!("String({expression})");
        let answer = self.ask("Runtime.evaluate", json!({ "expression": expression }))?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(details.clone()),
            None => Ok(wire::string(&answer, &["result", "value"]).to_owned()),
        }
    }

    #[track_caller]
    pub fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.ask(method, parameters).unwrap_or_else(|error| panic!("{method}: {error:?}"))
    }

    /// Err is what the protocol refuses.
    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.commands += 1;
        let command = json!({ "id": self.commands, "method": method, "params": parameters });
        self.socket.send(Message::text(command.to_string())).expect("chromium reads");
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "no answer to {method}");
            let message = match self.socket.read() {
                Ok(Message::Text(text)) => wire::json(text.as_str()),
                Ok(_) => continue,
                Err(Error::Io(error)) if would_block(&error) => continue,
                Err(error) => panic!("chromium has gone: {error}"),
            };
            if wire::number(&message, &["id"]) == Some(self.commands) {
                return wire::at(&message, &["result"]).cloned().ok_or(message);
            }
            self.faults.extend(fault(&message));
        }
    }
}

fn debugger_of_page(port: u16) -> Option<String> {
    let mut answer = ureq::get(format!("http://127.0.0.1:{port}/json/list")).call().ok()?;
    let list = wire::json(&answer.body_mut().read_to_string().ok()?);
    let page = list.as_array()?.iter().find(|target| wire::string(target, &["type"]) == "page")?;
    Some(wire::string(page, &["webSocketDebuggerUrl"]).to_owned())
}

/// What an event says that should not have happened. An answer of 401 is a network entry, and no fault of the page.
fn fault(event: &Value) -> Option<String> {
    let is_fault = match wire::string(event, &["method"]) {
        "Runtime.exceptionThrown" => true,
        "Runtime.consoleAPICalled" => wire::string(event, &["params", "type"]) == "error",
        "Log.entryAdded" => {
            let entry = |name| wire::string(event, &["params", "entry", name]);
            entry("level") == "error" && entry("source") != "network"
        }
        _ => false,
    };
    is_fault.then(|| event.to_string())
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
