//! A private PostgreSQL: a free port, a folder of its own, nothing kept. It can be ended as by a crash, stopped and
//! started again on its port.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::ports;
use super::process::{Process, run};
use super::wait::eventually;

pub struct Postgres {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
}

/// Debian keeps its programs where no PATH looks.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed (tools/install-test-deps)");
    let found = versions.flatten().map(|version| version.path().join("bin").join(name)).filter(|path| path.exists());
    found.max().unwrap_or_else(|| panic!("there is no {name}"))
}

/// As somebody else where we are root, whom PostgreSQL refuses: as the owner of what Debian's package has made.
fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(program(name));
    if let Some((user, group)) = servant() {
        command.uid(user).gid(group);
    }
    command.current_dir(folder);
    command
}

fn servant() -> Option<(u32, u32)> {
    let is_root = std::fs::metadata("/proc/self").expect("there is /proc").uid() == 0;
    let owner = || std::fs::metadata("/var/lib/postgresql").expect("Debian's package makes it");
    is_root.then(|| (owner().uid(), owner().gid()))
}

impl Postgres {
    /// Starts an empty one and returns once it answers.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temp dir");
        if let Some((user, group)) = servant() {
            chown(folder.path(), Some(user), Some(group)).expect("we are root");
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
        let mut initdb = command("initdb", folder.path());
        initdb.args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "--pgdata"]);
        let made = run(initdb.arg(folder.path().join("data")));
        assert_eq!(made.code, Some(0), "{made:?}");
        let address = ports::free();
        let process = launch(&folder, address);
        let postgres = Self { process, folder, address };
        postgres.answers();
        postgres
    }

    /// For the key `postgres.dsn`.
    pub fn dsn(&self) -> String {
        self.dsn_as("postgres")
    }

    /// The same for a role.
    pub fn dsn_as(&self, role: &str) -> String {
        format!("postgres://{role}@{}/postgres?sslmode=disable", self.address)
    }

    /// The same for who reaches it at another address.
    pub fn dsn_at(&self, address: SocketAddr) -> String {
        format!("postgres://postgres@{address}/postgres?sslmode=disable")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Executes these statements.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        let done = self.psql(sql);
        assert_eq!(done.code, Some(0), "{sql}: {done:?}");
    }

    /// The lines that a statement returns, of one column.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let done = self.psql(sql);
        assert_eq!(done.code, Some(0), "{sql}: {done:?}");
        done.stdout.lines().map(str::to_owned).collect()
    }

    /// Ends it without a word to anybody, as a crash would.
    pub fn crash(&mut self) {
        self.process.signal("QUIT");
        self.process.wait();
    }

    /// Lets it stand still with all its processes, or go on; says how many they are.
    pub fn freeze(&self, is_frozen: bool) -> usize {
        let pid = self.process.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
        let all: Vec<String> = children.split_whitespace().map(str::to_owned).chain([pid.to_string()]).collect();
        let name = if is_frozen { "STOP" } else { "CONT" };
        for pid in &all {
            // One of them may have ended meanwhile.
            let mut kill = Command::new("sh");
            let _ = kill.args(["-c", "kill -s \"$0\" \"$1\" 2>&-", name, pid]).status();
        }
        all.len()
    }

    /// Starts it again on the same port, after `crash`.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = launch(&self.folder, self.address);
        self.answers();
    }

    fn answers(&self) {
        eventually("PostgreSQL answers", || self.psql("SELECT 1").code == Some(0));
    }

    fn psql(&self, sql: &str) -> super::process::Finished {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let mut psql = command("psql", self.folder.path());
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--username=postgres",
            "--host",
            &host,
        ]);
        run(psql.args(["--port", &port, "--command", sql, "postgres"]))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.ended().is_none() {
            self.freeze(false);
            self.crash();
        }
    }
}

fn launch(folder: &TempDir, address: SocketAddr) -> Process {
    let mut server = command("postgres", folder.path());
    server.arg("-D").arg(folder.path().join("data")).args(["-c", "fsync=off", "-c", "unix_socket_directories="]);
    server.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    Process::start(&mut server, &folder.path().join("postgres.log"))
}
