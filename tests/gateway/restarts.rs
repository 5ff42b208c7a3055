//! Promise: a gateway that ends leaves its port to the next one at once, however it ends; and one that finds a port in
//! use says which.

use std::net::TcpListener;

use crate::support::admin::Admin;
use crate::support::config::Config;
use crate::support::gateway::command;
use crate::support::http;
use crate::support::ports;
use crate::support::process::{Process, run};
use crate::support::tokens::token;
use crate::support::wait::eventually;

const RESTARTS: usize = 10;

#[test]
fn ten_restarts_by_a_signal_find_the_port_free() {
    restart(|process| {
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0));
    });
}

#[test]
fn ten_restarts_after_a_crash_find_the_port_free() {
    restart(Process::kill);
}

#[test]
fn a_port_in_use_is_named_and_is_all_that_is_complained_about() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("bound");
    for key in ["server.listen", "admin.listen"] {
        let folder = tempfile::tempdir().expect("a temp dir");
        let config = Config::new()
            .set("server.listen", ports::free().to_string())
            .set("admin.listen", ports::free().to_string());
        let path = config.set(key, taken.to_string()).write(folder.path());
        let finished = run(command().arg("--config").arg(path));
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let complaints: Vec<_> =
            finished.stderr.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        let named = format!("cannot listen on {}: Address already in use", taken);
        assert!(matches!(complaints[..], [only] if only.contains(&named)), "{key}: {complaints:?}");
    }
}

/// Starts gateways one after the other on the same ports, each as soon as `end` has ended the
/// one before, which has a client.
#[track_caller]
fn restart(end: impl Fn(&mut Process)) {
    let folder = tempfile::tempdir().expect("a temp dir");
    let (public, admin) = (ports::free(), Admin::new(ports::free()));
    let config = Config::new().set("server.listen", public.to_string()).set("admin.listen", admin.address.to_string());
    let (path, log) = (
        config.set("server.drain", "0s").set("limits.close_deadline", "100ms").write(folder.path()),
        folder.path().join("log"),
    );
    let bearer = format!("Bearer {}", token("client"));
    for restart in 0..=RESTARTS {
        let mut process = Process::start(command().arg("--config").arg(&path), &log);
        eventually("it is ready", || {
            let said = || std::fs::read_to_string(&log).expect("its log is text");
            assert!(process.ended().is_none(), "restart {restart} failed:\n{}", said());
            admin.try_get("/readyz").is_some_and(|answer| answer.status == 200)
        });
        let mut client = http::open(public);
        http::upgrade(&mut client, "/ws", &[("Authorization", &bearer)]).expect("an upgrade");
        // The client does not answer the close frame and goes with the process, or after it.
        let leave = std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()));
        end(&mut process);
        let _ = leave.join().expect("no panic");
    }
}
