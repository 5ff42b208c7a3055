//! Starts the gateway with a configuration made for the run.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::args::Common;
use crate::limits::Trouble;
use crate::measure::process::Processes;
use crate::publish::sink;

use super::child::Child;
use super::url::Url;
use super::{Server, free_port};

/// What the environment may say to the gateway: its own settings, not those of other programs that it also understands.
const ENVIRONMENT: &str = "RINGWAY_";

pub(super) fn start(program: &Path, common: &Common, redis: Option<(Child, String)>) -> Result<Server, Trouble> {
    let (listen, admin) = (free_port()?, free_port()?);
    // 0: one per core.
    let shards = common.shards.unwrap_or(0);
    let (redis_child, redis) = match redis {
        Some((child, url)) => (Some(child), Some(url)),
        None => (None, common.redis.clone()),
    };
    let secret = secret()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ringway.toml");
    let heartbeat_section = common.heartbeat.map_or(String::new(), |interval| {
        let seconds = interval.as_secs().max(1);
        format!("[heartbeat]\ninterval = \"{seconds}s\"\nidle_timeout = \"{}s\"\n", seconds * 2)
    });
    let redis_section = redis.as_ref().map_or(String::new(), |url| format!("[redis]\nurl = \"{url}\"\n"));
    fs::write(
        &file,
        format!(
            "[server]\nlisten = \"{listen}\"\nshards = {shards}\ndrain = \"1s\"\n[admin]\nlisten = \"{admin}\"\n\
             [auth]\nsecret = \"{secret}\"\n[limits]\nmessages = 0\n{heartbeat_section}{redis_section}"
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&file).env_clear();
    command.envs(std::env::vars().filter(|(name, _)| name.starts_with(ENVIRONMENT) || name == "PATH"));
    let mut child = Child::start(&program.display().to_string(), &mut command, folder)?;
    let agent = sink::agent();
    let ready = format!("http://{admin}/readyz");
    child.wait_until(|| agent.get(&ready).call().is_ok_and(|answer| answer.status() == 200))?;
    let processes = Processes::watch(&[child.pid()]);
    let name = program.file_name().map_or_else(|| "gateway".into(), |name| name.to_string_lossy().into_owned());
    Ok(Server {
        url: Url { host: listen.ip().to_string(), port: listen.port(), path: "/ws".into() },
        target: listen,
        label: common.label.clone().unwrap_or(name),
        admin: Some(format!("http://{admin}")),
        redis,
        processes,
        secret: Some(secret),
        // Dropped in this order: the gateway first.
        _children: [Some(child), redis_child].into_iter().flatten().collect(),
    })
}

/// 32 hex digits of the kernel's randomness.
fn secret() -> Result<String, Trouble> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(uuid.chars().filter(char::is_ascii_hexdigit).collect())
}
