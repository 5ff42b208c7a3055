//! Promise: the configurations of docs/BEHIND_A_PROXY.md bring clients through a real nginx and a real HAProxy, with
//! TLS, each under its own address, and keep silent ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::blocks::blocks;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::ports;
use crate::support::process::{Process, run};
use crate::support::programs::{link_packages, program_in};
use crate::support::tokens::{SECRET, token};
use crate::support::wait::{eventually, eventually_some};

const DOCUMENT: &str = "docs/BEHIND_A_PROXY.md";

/// What the tests put in place of the 120 s in the document, so that silence is shorter than a test.
const PROXY_TIMEOUT: &str = "2s";
const HEARTBEAT: &str = "500ms";
/// As many heartbeats last longer than the timeout.
const HEARTBEATS: usize = 8;

/// A proxy in front of a gateway, both configured by the document.
struct Proxied {
    gateway: Gateway,
    folder: TempDir,
    url: String,
    proxy: Process,
}

impl Proxied {
    #[track_caller]
    fn nginx() -> Proxied {
        Proxied::start("behind-nginx.toml", "nginx.conf", |folder, text| {
            let scratch = |kind| format!("{kind}_temp_path {}; ", folder.join(kind).display());
            let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            // The places that Debian has for these are its own service's.
            let scratches: String = kinds.map(scratch).concat();
            let text = replace(&text, "http {", &format!("http {{ {scratches}"));
            let text = replace(&text, "/var/log/nginx", &folder.display().to_string());
            let directives = format!("daemon off; master_process off; pid {}/pid;", folder.display());
            let mut nginx = Command::new("/usr/sbin/nginx");
            nginx.args(["-g", &directives, "-e", "stderr", "-c"]);
            (text, nginx)
        })
    }

    #[track_caller]
    fn haproxy() -> Proxied {
        Proxied::start("behind-haproxy.toml", "haproxy.cfg", |_, text| {
            // It does not start where it may not have as many files open as it asks for.
            let text = replace(&text, "maxconn 100000", "maxconn 100");
            let mut haproxy = Command::new("/usr/sbin/haproxy");
            haproxy.args(["-db", "-f"]);
            (text, haproxy)
        })
    }

    /// Starts a gateway with one file of the document, and a proxy with another, whose addresses, certificate and
    /// timeouts are replaced, and nothing else but what `prepare` does.
    #[track_caller]
    fn start(gateway: &str, proxy: &str, prepare: impl Fn(&Path, String) -> (String, Command)) -> Proxied {
        let config = Config::parse(&file(gateway))
            .set("auth.secret", SECRET)
            .set("heartbeat.interval", HEARTBEAT)
            .set("limits.connects_per_address", 2)
            .set("limits.connects_window", "1h");
        let gateway = Gateway::start(config);
        let folder = tempfile::tempdir().expect("a temp dir");
        make_certificate(folder.path());
        let (plain, tls) = (ports::free(), ports::free());
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut text = file(proxy);
        for (written, here) in [
            ("127.0.0.1:4000", gateway.public.to_string()),
            ("120s", PROXY_TIMEOUT.to_owned()),
            (" :80", format!(" {plain}")),
            (" :443", format!(" {tls}")),
            ("listen 80;", format!("listen {plain};")),
            ("listen 443 ", format!("listen {tls} ")),
            ("port 4001", format!("port {}", gateway.admin().address.port())),
            ("/etc/ssl/ringway/fullchain.pem", path("cert.pem")),
            ("/etc/ssl/ringway/privkey.pem", path("key.pem")),
            ("/etc/ssl/ringway/haproxy.pem", path("both.pem")),
        ] {
            text = text.replace(written, &here);
        }
        let (text, mut command) = prepare(folder.path(), text);
        std::fs::write(folder.path().join(proxy), text).expect("the temp dir is writable");
        let log = folder.path().join("proxy.log");
        let mut proxy = Process::start(command.arg(folder.path().join(proxy)), &log);
        eventually("the proxy listens", || {
            assert!(proxy.ended().is_none(), "it has ended:\n{}", read(&log));
            std::net::TcpStream::connect(tls).is_ok()
        });
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/dial.mjs"), path("dial.mjs"))
            .expect("a copy");
        link_packages(folder.path());
        Proxied { gateway, folder, url: format!("wss://{tls}/ws"), proxy }
    }

    /// A client from one of this machine's addresses; what it prints is in the file.
    fn dial(&self, from: &str) -> (Process, PathBuf) {
        let log = self.folder.path().join(format!("dial-{}.log", ports::free().port()));
        let arguments = ["dial.mjs", &self.url, &token(from), from, "cert.pem"];
        (Process::start(&mut program_in(self.folder.path(), &[], "node", &arguments), &log), log)
    }

    /// The status that a client from this address gets.
    #[track_caller]
    fn status(&self, from: &str) -> (String, Process, PathBuf) {
        let (process, log) = self.dial(from);
        let status = eventually_some("an answer", || read(&log).lines().next().map(str::to_owned));
        (status, process, log)
    }

    #[track_caller]
    fn keeps_its_promises(mut self) {
        let (status, _silent, log) = self.status("127.0.0.2");
        assert_eq!(status, "101");
        eventually("it has subscribed", || read(&log).contains(r#""subscribed""#));
        // Each address has its two connects, whatever the client says that it is.
        let again: Vec<String> = (0..2).map(|_| self.status("127.0.0.2").0).collect();
        assert_eq!(again, ["101", "429"]);
        assert_eq!(self.status("127.0.0.3").0, "101");
        // Silent but for heartbeats, and longer than the proxy's patience.
        eventually("heartbeats come", || read(&log).lines().filter(|line| *line == "ping").count() >= HEARTBEATS);
        assert_eq!(self.gateway.admin().broadcast("/broadcast/channel/conv:c1", "Hello!"), 1);
        eventually("the message comes", || read(&log).ends_with("Hello!\n"));
        assert!(self.proxy.ended().is_none());
        self.gateway.process().signal("TERM");
        eventually("the close code comes through", || read(&log).ends_with("closed 1001\n"));
    }
}

#[test]
fn nginx_as_documented_keeps_silent_clients_and_says_who_they_are() {
    Proxied::nginx().keeps_its_promises();
}

#[test]
fn haproxy_as_documented_keeps_silent_clients_and_says_who_they_are() {
    Proxied::haproxy().keeps_its_promises();
}

/// A file of the document.
#[track_caller]
fn file(name: &str) -> String {
    let found = blocks(DOCUMENT).into_iter().find(|block| block.file() == Some(name));
    found.unwrap_or_else(|| panic!("no {name} in {DOCUMENT}")).text
}

/// Puts something in place of what must be there.
#[track_caller]
fn replace(text: &str, written: &str, here: &str) -> String {
    assert!(text.contains(written), "no {written} in {text}");
    text.replacen(written, here, 1)
}

/// A certificate for 127.0.0.1 that signs itself: `cert.pem`, `key.pem`, and both in `both.pem`.
#[track_caller]
fn make_certificate(folder: &Path) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \
         -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem && \
         cat cert.pem key.pem > both.pem";
    let made = run(&mut program_in(folder, &[], "sh", &["-c", script]));
    assert_eq!(made.code, Some(0), "{made:?}");
}

#[track_caller]
fn read(log: &Path) -> String {
    std::fs::read_to_string(log).expect("its output is text")
}
