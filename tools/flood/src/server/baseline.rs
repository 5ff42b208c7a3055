//! Starts this very program as the baseline.

use std::process::Command;

use crate::args::Common;
use crate::baseline::Mode;
use crate::limits::Trouble;
use crate::measure::process::Processes;
use crate::publish::sink;

use super::child::Child;
use super::url::Url;
use super::{Server, free_port};

pub(super) fn start(mode: Mode, common: &Common) -> Result<Server, Trouble> {
    let (listen, admin) = (free_port()?, free_port()?);
    // 0: one per core.
    let shards = common.shards.unwrap_or(0);
    let mode = match mode {
        Mode::Fanout => "fanout",
        Mode::Echo => "echo",
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["baseline-server", "--mode", mode, "--shards", &shards.to_string()]);
    command.args(["--listen", &listen.to_string(), "--admin", &admin.to_string()]);
    let mut child = Child::start("the baseline", &mut command, tempfile::tempdir()?)?;
    let agent = sink::agent();
    let ready = format!("http://{admin}/readyz");
    child.wait_until(|| agent.get(&ready).call().is_ok())?;
    Ok(Server {
        url: Url { host: listen.ip().to_string(), port: listen.port(), path: "/".into() },
        target: listen,
        label: common.label.clone().unwrap_or_else(|| format!("baseline-{mode}")),
        admin: Some(format!("http://{admin}")),
        redis: None,
        processes: Processes::watch(&[child.pid()]),
        secret: None,
        _children: vec![child],
    })
}
