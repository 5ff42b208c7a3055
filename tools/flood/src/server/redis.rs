//! A Redis of the run's own: nothing on disk, a free port.

use std::net::TcpStream;
use std::process::Command;

use crate::limits::Trouble;

use super::child::Child;
use super::free_port;

pub(super) fn start() -> Result<(Child, String), Trouble> {
    let address = free_port()?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no"]).current_dir(folder.path());
    let mut child = Child::start("redis-server", &mut command, folder)?;
    child.wait_until(|| TcpStream::connect(address).is_ok())?;
    Ok((child, format!("redis://{address}")))
}
