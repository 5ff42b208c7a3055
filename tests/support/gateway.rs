//! The real binary: started with a configuration file of its own, asked until it is ready, stopped by its pid.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use tempfile::TempDir;

use super::admin::Admin;
use super::config::Config;
use super::ports;
use super::process::Process;
use super::wait::{DEADLINE, PAUSE};

/// How often another port is tried when somebody else took the chosen one in between.
const START_ATTEMPTS: usize = 5;

/// The binary under test.
pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
}

/// A running gateway. Killed on drop.
pub struct Gateway {
    process: Process,
    folder: TempDir,
    /// The public port.
    pub public: SocketAddr,
    admin: Admin,
}

impl Gateway {
    /// Starts a gateway and returns once `/readyz` says yes.
    #[track_caller]
    pub fn start(config: Config) -> Gateway {
        Gateway::start_until("/readyz", config, &[])
    }

    /// Starts a gateway whose sources may be away: returns once `/livez` says yes.
    #[track_caller]
    pub fn start_alive(config: Config) -> Gateway {
        Gateway::start_until("/livez", config, &[])
    }

    /// Starts a gateway that may have so many files open.
    #[track_caller]
    pub fn start_with_open_files(config: Config, open_files: usize) -> Gateway {
        Gateway::start_by("/readyz", config, &[], || {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit -n {open_files} && exec \"$0\" \"$@\"")]).arg(command().get_program());
            shell
        })
    }

    /// Starts a gateway whose log goes into a pipe with a name.
    #[track_caller]
    pub fn start_logging_to(pipe: &Path, config: Config) -> Gateway {
        Gateway::start_by("/readyz", config, &[], || {
            let mut shell = Command::new("sh");
            let redirected = format!("exec \"$0\" \"$@\" 2>'{}'", pipe.display());
            shell.args(["-c", &redirected]).arg(command().get_program());
            shell
        })
    }

    /// Starts a gateway without a configuration file, the addresses given by flags.
    #[track_caller]
    pub fn start_bare() -> Gateway {
        Gateway::attempt("/readyz", command, |_, public, admin| {
            vec!["--listen".into(), public.to_string(), "--admin".into(), admin.to_string()]
        })
    }

    /// Starts a gateway without a configuration file, as the deployment of another system would: by its variables. The
    /// one named `port` says where the public port is.
    #[track_caller]
    pub fn start_by_variables(port: &str, variables: &[(&str, &str)]) -> Gateway {
        let program = command().get_program().to_string_lossy().into_owned();
        Gateway::attempt(
            "/readyz",
            || Command::new("env"),
            |_, public, admin| {
                let mut arguments = vec![format!("{port}={}", public.port())];
                arguments.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
                arguments.extend([program.clone(), "--admin".into(), admin.to_string()]);
                arguments
            },
        )
    }

    #[track_caller]
    fn start_until(answer: &'static str, config: Config, flags: &[&str]) -> Gateway {
        Gateway::start_by(answer, config, flags, command)
    }

    #[track_caller]
    fn start_by(answer: &'static str, config: Config, flags: &[&str], program: impl Fn() -> Command) -> Gateway {
        let token = config.admin_token();
        let mut gateway = Gateway::attempt(answer, program, |folder, public, admin| {
            let config = config.clone().set("server.listen", public.to_string()).set("admin.listen", admin.to_string());
            let path = config.write(folder);
            let mut arguments = vec!["--config".to_owned(), path.display().to_string()];
            arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
            arguments
        });
        gateway.admin.token = token;
        gateway
    }

    #[track_caller]
    fn attempt(
        answer: &str,
        program: impl Fn() -> Command,
        arguments: impl Fn(&Path, SocketAddr, SocketAddr) -> Vec<String>,
    ) -> Gateway {
        let mut log = String::new();
        for _ in 0..START_ATTEMPTS {
            let folder = tempfile::tempdir().expect("a temp dir");
            let (public, admin) = (ports::free(), ports::free());
            let arguments = arguments(folder.path(), public, admin);
            let process = Process::start(program().args(arguments), &folder.path().join("log"));
            let mut gateway = Gateway { process, folder, public, admin: Admin::new(admin) };
            if gateway.answers(answer) {
                return gateway;
            }
            log = gateway.log();
            if !log.to_lowercase().contains("in use") {
                break;
            }
        }
        panic!("the gateway did not start:\n{log}");
    }

    /// Whether `path` of the admin port answers 200 before the deadline, or the end of the process.
    fn answers(&mut self, path: &str) -> bool {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline && self.process.ended().is_none() {
            if self.admin.try_get(path).is_some_and(|answer| answer.status == 200) {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Everything it has printed and logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("its log is text")
    }

    /// Asks it to end, as an operator would, and waits for that.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.wait()
    }
}

impl Drop for Gateway {
    /// A failing test shows what the gateway had to say.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway on {} said:\n{}", self.public, self.log());
        }
    }
}
