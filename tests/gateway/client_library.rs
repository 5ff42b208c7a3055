//! Promise: the client library of tools/client does what its README.md says, in Node.js and in a browser, and knows the
//! messages that the routes know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringway::route::Routes;
use ringway::ws::close::CloseCode;
use tempfile::TempDir;

use crate::support::admin::Admin;
use crate::support::blocks::write_files;
use crate::support::browser::Browser;
use crate::support::config::Config;
use crate::support::gateway::command;
use crate::support::ports;
use crate::support::process::{Process, run};
use crate::support::programs::{link_packages, program_in};
use crate::support::tokens::token;
use crate::support::wait::{eventually, eventually_some};

const PACKAGE: &str = "tools/client";

const README: &str = "tools/client/README.md";

/// How the files of the README are checked, as an application's would be.
const STRICT: [&str; 10] = [
    "--strict",
    "--noEmitOnError",
    "--target",
    "es2022",
    "--module",
    "es2022",
    "--moduleResolution",
    "bundler",
    "--lib",
    "es2022,dom",
];

/// The `NODE_OPTIONS` with which Node.js has a `WebSocket` of its own: none from 22 on, a flag from 20.10 on; older
/// ones, such as Debian 12's, have no such flag.
const OWN_WEBSOCKET: &str = "const flag = '--experimental-websocket'; \
    typeof WebSocket === 'function' ? '' : process.allowedNodeEnvironmentFlags.has(flag) ? flag : 'none'";

/// As many as the tests of one file need: two for each gateway.
const PORTS: usize = 40;

/// A copy of the package with what it is developed with.
struct Copy {
    folder: TempDir,
}

impl Copy {
    #[track_caller]
    fn new() -> Copy {
        let folder = tempfile::tempdir().expect("a temp dir");
        let copy = Copy { folder };
        std::fs::create_dir(copy.package()).expect("the temp dir is writable");
        for part in ["dist", "src", "test", "package.json", "tsconfig.json", "README.md"] {
            let copied = run(Command::new("cp").arg("-r").arg(root().join(PACKAGE).join(part)).arg(copy.package()));
            assert_eq!(copied.code, Some(0), "{copied:?}");
        }
        link_packages(&copy.package());
        copy
    }

    fn package(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    /// Runs something in the package.
    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let home = self.folder.path().display().to_string();
        run_in(&self.package(), &[("HOME", &home)], program, arguments)
    }

    /// An application's folder with the package installed, as npm packs it, and the files of the README.
    #[track_caller]
    fn application(&self) -> PathBuf {
        let application = self.folder.path().join("application");
        let installed = application.join("node_modules/ringway-client");
        std::fs::create_dir_all(&installed).expect("the temp dir is writable");
        self.run("npm", &["pack", "--silent", "--pack-destination", ".."]);
        let packed = format!("../{}", packed_name());
        let into = installed.display().to_string();
        self.run("tar", &["-xzf", &packed, "--strip-components=1", "-C", &into]);
        write_files(README, &application);
        std::fs::write(application.join("package.json"), r#"{"type":"module"}"#).expect("the temp dir is writable");
        application
    }

    #[track_caller]
    fn compile_in(&self, folder: &Path, files: &[&str]) {
        let compiler = self.package().join("node_modules/.bin/tsc").display().to_string();
        run_in(folder, &[], &compiler, &[&STRICT, files].concat());
    }
}

#[test]
fn what_is_built_is_what_the_sources_make() {
    let copy = Copy::new();
    copy.run("node_modules/.bin/tsc", &["--outDir", "built"]);
    let (kept, built) = (root().join(PACKAGE).join("dist"), copy.package().join("built"));
    assert_eq!(names(&kept), names(&built), "run npm run build in {PACKAGE}");
    for name in names(&built) {
        let same = std::fs::read(kept.join(&name)).ok() == std::fs::read(built.join(&name)).ok();
        assert!(same, "{name} is not what the sources make: run npm run build in {PACKAGE}");
    }
}

#[test]
fn the_compiler_is_the_one_that_the_package_names() {
    let copy = Copy::new();
    let version = copy.run("node", &["-p", "require('./package.json').devDependencies.typescript"]);
    assert_eq!(copy.run("node_modules/.bin/tsc", &["--version"]), format!("Version {version}"));
}

#[test]
fn its_parts_keep_their_bounds() {
    run_tests("parts");
}

#[test]
fn it_comes_back_with_the_package_ws() {
    run_tests("returning");
}

#[test]
fn it_comes_back_with_the_websocket_of_the_runtime() {
    run_tests_of_the_runtime("returning");
}

#[test]
fn it_talks_with_the_package_ws() {
    run_tests("talking");
}

#[test]
fn it_talks_with_the_websocket_of_the_runtime() {
    run_tests_of_the_runtime("talking");
}

#[test]
fn the_types_are_those_of_the_routes() {
    let copy = Copy::new();
    let application = copy.application();
    std::fs::write(application.join("routes.json"), Routes::shipped().json()).expect("the temp dir is writable");
    copy.run("node", &["test/types.mjs", "../application/routes.json", "../application/check.ts"]);
    copy.compile_in(&application, &["--noEmit", "check.ts"]);
}

/// Packed, installed, compiled against its types, and run.
#[test]
fn what_the_readme_shows_works() {
    let copy = Copy::new();
    let application = copy.application();
    copy.compile_in(&application, &["example.ts", "own.ts"]);
    let example = ["test/example.mjs", "../application/example.js"];
    match own_websocket(&copy) {
        Some(options) => run_node(&copy, "runtime", &options, &example),
        None => run_node(&copy, "ws", "", &example),
    }
}

#[test]
fn every_close_code_has_its_way_back() {
    let codes = CloseCode::SENT.iter().map(|code| code.to_string()).collect::<Vec<_>>();
    let asked = format!(
        "import('ringway-client').then(({{ returnAfter }}) => console.log([{}].map(returnAfter).join()))",
        codes.join(",")
    );
    let known = Copy::new().run("node", &["-e", &asked]);
    let known: Vec<_> = known.split(',').collect();
    let said: Vec<_> = codes.iter().map(|code| way_back(&column_of_closing(code))).collect();
    assert_eq!(known, said, "{codes:?}");
    let never = codes.iter().zip(&known).filter(|(_, way)| **way == "never").map(|(code, _)| code.as_str());
    let never = format!("FINAL_CODES = new Set([{}])", never.collect::<Vec<_>>().join(", "));
    let other = std::fs::read_to_string(root().join("docs/GETTING_STARTED.md")).expect("the document");
    assert!(other.contains(&never), "the client of docs/GETTING_STARTED.md has another {never}");
}

#[test]
fn a_page_comes_back_to_a_gateway_that_was_killed() {
    let scratch = tempfile::tempdir().expect("a temp dir");
    let (public, admin) = (ports::free(), Admin::new(ports::free()));
    let config = Config::new().set("server.listen", public.to_string()).set("admin.listen", admin.address.to_string());
    let path = config.write(scratch.path()).display().to_string();
    let serve = || {
        let process = Process::start(command().args(["--config", &path]), &scratch.path().join("log"));
        eventually("it is ready", || admin.try_get("/readyz").is_some_and(|answer| answer.status == 200));
        process
    };
    let mut gateway = serve();
    let copy = Copy::new();
    let log = scratch.path().join("page.log");
    let _server = Process::start(&mut program_in(&copy.package(), &[], "node", &["test/page.mjs"]), &log);
    let address =
        eventually_some("the page is served", || std::fs::read_to_string(&log).ok()?.lines().next().map(str::to_owned));
    let mut page = Browser::open(&format!("{address}?gateway=ws://{public}/ws&token={}", token("ana")));
    for content in ["before", "after"] {
        let message = format!(r#"{{"type":"message.new","payload":{{"content":"{content}"}}}}"#);
        eventually("the message has a listener", || admin.broadcast("/broadcast/channel/conv:c1", &message) == 1);
        page.eventually("it is shown", &format!("document.getElementById('heard').innerText.includes('{content}')"));
        gateway.kill();
        gateway = serve();
    }
    assert_eq!(page.text("answer"), "pong");
    let states = page.text("states");
    assert!(states.starts_with("open waiting1006 connecting"), "{states}");
    page.evaluate("ringway.close()");
    page.eventually("it is closed", "document.getElementById('states').innerText.endsWith('closed1000')");
}

/// What the client does where docs/PROTOCOL.md says this of coming back.
fn way_back(said: &str) -> &'static str {
    match said {
        _ if said.contains("token") => "token",
        _ if said.starts_with("no") => "never",
        _ if said.ends_with("later") => "later",
        _ => "soon",
    }
}

/// The last column of a code's row.
#[track_caller]
fn column_of_closing(code: &str) -> String {
    let protocol = std::fs::read_to_string(root().join("docs/PROTOCOL.md")).expect("the document");
    let (_, closing) = protocol.split_once("\n## Closing\n").expect("its section");
    let row = closing.lines().find(|line| line.starts_with(&format!("| {code} |"))).expect("its row");
    row.trim_end_matches(" |").rsplit(" | ").next().expect("a column").to_owned()
}

#[track_caller]
fn run_tests(name: &str) {
    run_node(&Copy::new(), "ws", "", &[&format!("test/{name}.test.mjs")]);
}

/// Passed over, with a word, by a Node.js that has none.
#[track_caller]
fn run_tests_of_the_runtime(name: &str) {
    let copy = Copy::new();
    match own_websocket(&copy) {
        Some(options) => run_node(&copy, "runtime", &options, &[&format!("test/{name}.test.mjs")]),
        None => eprintln!("{name}: not run, this Node.js has no WebSocket of its own"),
    }
}

/// The options with which Node.js has a `WebSocket` of its own.
#[track_caller]
fn own_websocket(copy: &Copy) -> Option<String> {
    Some(copy.run("node", &["-p", OWN_WEBSOCKET])).filter(|flag| flag != "none")
}

/// With what test/gateway.mjs needs.
#[track_caller]
fn run_node(copy: &Copy, websocket: &str, options: &str, arguments: &[&str]) {
    let binary = command().get_program().to_string_lossy().into_owned();
    let ports: Vec<_> = (0..PORTS).map(|_| ports::free().port().to_string()).collect();
    let ports = ports.join(",");
    let variables = [
        ("GATEWAY_BINARY", binary.as_str()),
        ("GATEWAY_PORTS", &ports),
        ("GATEWAY_WEBSOCKET", websocket),
        ("NODE_OPTIONS", options),
    ];
    run_in(&copy.package(), &variables, "node", arguments);
}

/// What it has printed. The test fails when it does.
#[track_caller]
fn run_in(folder: &Path, variables: &[(&str, &str)], program: &str, arguments: &[&str]) -> String {
    let finished = run(&mut program_in(folder, variables, program, arguments));
    assert_eq!(finished.code, Some(0), "{program} {arguments:?}\n{}\n{}", finished.stdout, finished.stderr);
    finished.stdout.trim().to_owned()
}

fn packed_name() -> String {
    format!("ringway-client-{}.tgz", env!("CARGO_PKG_VERSION"))
}

#[track_caller]
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
