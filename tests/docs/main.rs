//! Keeps the documents true where that is cheap: what the code can answer stands in docs/PROTOCOL.md, its examples are
//! what the code writes, and every relative link leads somewhere.

mod tested;

use std::fs;
use std::path::{Path, PathBuf};

use ringway::auth::TokenError;
use ringway::config::Key;
use ringway::lane::Failure;
use ringway::metrics::Timed;
use ringway::protocol::reply::{Expiry, Message, Part, Problem, Time, Timestamp, Welcome};
use ringway::protocol::request::{Request, RequestError};
use ringway::route::action::Action;
use ringway::route::table::Sender;
use ringway::route::template::{Place, Value};
use ringway::route::{Definitions, Routes, Vocabulary};
use ringway::shard::session::error::{ChannelError, SessionError};
use ringway::ws::close::CloseCode;
use ringway::ws::handshake::Refusal;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const SESSION: &str = "6a9c41d2-07be-8001-8000-00a100000007";

/// Folders that are not part of the project.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

#[test]
fn every_close_code_has_its_row() {
    let protocol = protocol();
    for code in CloseCode::SENT {
        assert_row(&protocol, &[&code.to_string(), &format!("`{}`", code.name())]);
    }
}

#[test]
fn every_refusal_before_the_upgrade_has_its_row() {
    let protocol = protocol();
    for refusal in Refusal::ALL.iter().filter(|refusal| !matches!(refusal, Refusal::Token { .. })) {
        assert_row(&protocol, &[&refusal.status().as_u16().to_string(), &format!("`{}`", refusal.code())]);
    }
    for error in TokenError::ALL {
        assert_row(&protocol, &[&format!("`{}`", error.name())]);
    }
}

#[test]
fn every_error_message_has_its_row() {
    let protocol = protocol();
    let of_channels = ChannelError::ALL.iter().map(|error| error.code());
    for code in session_errors().iter().map(|error| error.code()).chain(of_channels) {
        assert_row(&protocol, &[&format!("`{code}`")]);
    }
}

#[test]
fn every_error_of_the_admin_port_has_its_row() {
    let protocol = protocol();
    let source = read("src/admin/error.rs");
    let rows: Vec<&str> = source.lines().filter(|line| line.contains("=> (Status::")).collect();
    assert!(rows.len() > 5, "the table of src/admin/error.rs is written in another way: {rows:?}");
    for row in rows {
        let code = first_string(row).unwrap_or_else(|| panic!("no code in {row}"));
        assert_row(&protocol, &[&format!("`{code}`")]);
    }
}

#[test]
fn everything_that_is_timed_has_its_row() {
    let protocol = protocol();
    for timed in Timed::ALL {
        assert_row(&protocol, &[&format!("`{}`", timed.name())]);
    }
}

#[test]
fn the_examples_are_what_the_gateway_writes() {
    const PING_MS: u64 = 1_795_150_433_760;
    let welcome = Welcome { user_id: "ana", session_id: SESSION, server_id: "node-1", heartbeat_interval: 30_000 };
    let missing = RequestError::MissingField("channels");
    let missing =
        Problem { code: missing.code(), message: &missing.to_string(), request: Some("subscribe"), part: None };
    let protocol = protocol();
    for written in [
        Message::connected(welcome).json(),
        answer(r#"{"type":"auth"}"#, &[], 0),
        Message::TokenExpiring { payload: Expiry { expires_in: 30, expires_at: 1_795_154_012 } }.json(),
        answer(r#"{"type":"ping","id":"p-1"}"#, &[], PING_MS),
        Message::Heartbeat { payload: Time { timestamp: PING_MS } }.json(),
        answer(r#"{"type":"subscribe","id":1,"channels":[]}"#, &["conv:c1", "clan:7"], 0),
        answer(r#"{"type":"subscribe","conversation_ids":[]}"#, &["c2"], 0),
        refused(r#"{"type":"subscribe","id":3}"#, ChannelError::NotAllowed, "user:bob"),
        answer(r#"{"type":"unsubscribe","channels":[]}"#, &["clan:7"], 0),
        refused(r#"{"type":"unsubscribe"}"#, ChannelError::NotSubscribed, "clan:9"),
        Message::error(missing).json_in_answer_to(request(r#"{"type":"subscribe","id":"r-17"}"#).id),
    ] {
        let line = format!("\n< {written}\n");
        assert!(protocol.contains(&line), "no such example in docs/PROTOCOL.md: {line}");
    }
}

#[test]
fn every_setting_that_is_named_exists() {
    let keys: Vec<String> = Key::all().iter().map(Key::to_string).collect();
    let sections: Vec<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    // The names of messages look alike.
    let messages = Routes::shipped().json().replace('\\', "");
    let is_message = |span: &str| messages.contains(&format!(r#""type":"{span}""#));
    let named = code_spans(&protocol()).into_iter().filter(|span| !is_message(span));
    let mut settings = 0;
    for span in named {
        let is_key = span.split_once('.').is_some_and(|(section, name)| sections.contains(&section) && is_word(name));
        settings += usize::from(is_key);
        assert!(!is_key || keys.contains(&span), "{span} is no setting");
    }
    assert!(settings > 20, "only {settings} settings were found");
}

/// In the documents, and in what is deployed.
#[test]
fn every_variable_that_is_named_exists() {
    // The form of all names, and two of those that Kubernetes makes up.
    let other = ["RINGWAY_SECTION_KEY", "RINGWAY_SERVICE_HOST", "RINGWAY_PORT"];
    let variable = |key: &Key| format!("RINGWAY_{}", key.to_string().replace('.', "_").to_uppercase());
    let known: Vec<String> = Key::all().iter().map(variable).chain(other.map(str::to_owned)).collect();
    let mut files = vec![Path::new(ROOT).join("README.md")];
    find_files(&Path::new(ROOT).join("docs"), &|_| true, &mut files);
    find_files(&Path::new(ROOT).join("tuning"), &|_| true, &mut files);
    let mut found = 0;
    for file in &files {
        // A picture is no text.
        let text = fs::read_to_string(file).unwrap_or_default();
        let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        for word in words.filter(|word| word.starts_with("RINGWAY_") && word.len() > "RINGWAY_".len()) {
            found += 1;
            assert!(known.contains(&word.to_owned()), "{} names {word}, which is no setting", file.display());
        }
    }
    assert!(found > 100, "only {found} variables were found");
}

#[test]
fn the_client_library_is_under_the_licence_of_the_project() {
    let licence = |file: &str, key: &str| {
        let text = read(file);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key).map(str::to_owned));
        first_string(&line.unwrap_or_else(|| panic!("no licence in {file}"))).map(str::to_owned)
    };
    let ours = licence("Cargo.toml", "license =");
    assert!(ours.is_some());
    assert_eq!(licence("tools/client/package.json", "\"license\":"), ours);
}

#[test]
fn every_route_that_is_shown_can_be_used() {
    let (mut documents, mut shown) = (Vec::new(), 0);
    find_documents(&Path::new(ROOT).join("docs"), &mut documents);
    for document in &documents {
        let file = document.display().to_string();
        let blocks = toml_blocks(&fs::read_to_string(document).expect("a document"));
        let names = |block: &str| block.lines().filter_map(name_of_service).map(str::to_owned).collect::<Vec<_>>();
        let services: Vec<String> = blocks.iter().flat_map(|block| names(block)).collect();
        let services: Vec<&str> = services.iter().map(String::as_str).collect();
        let routes: String = blocks.into_iter().filter(|block| block.contains("[[routes]]")).collect();
        let own = Definitions::read(&file, &routes).unwrap_or_else(|error| panic!("{file}: {error:?}"));
        shown += own.routes.len();
        if let Err(errors) = Routes::compile(&Vocabulary::ALL, &own, &services, usize::MAX) {
            panic!("{errors:#?}");
        }
    }
    assert!(shown > 10, "only {shown} routes were found");
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut documents = Vec::new();
    find_documents(Path::new(ROOT), &mut documents);
    assert!(documents.len() >= 3, "{documents:?}");
    for document in &documents {
        let text = fs::read_to_string(document).expect("a document");
        for link in links(&text) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().expect("a folder").join(path),
            };
            assert!(target.exists(), "{} links to {link}, which is not there", document.display());
            if !anchor.is_empty() && target.extension().is_some_and(|extension| extension == "md") {
                let anchors = anchors(&fs::read_to_string(&target).expect("a document"));
                assert!(
                    anchors.contains(&anchor.to_owned()),
                    "{} links to {link}: no such heading",
                    document.display()
                );
            }
        }
    }
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let files = sources();
    let named: Vec<String> =
        code_spans(&read("docs/ARCHITECTURE.md")).into_iter().filter(|span| span.ends_with(".rs")).collect();
    assert!(named.len() > 100, "{named:?}");
    for file in named {
        assert!(files.iter().any(|path| path.ends_with(&file)), "there is no {file}");
    }
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    find_files(Path::new(ROOT), &|path| path.extension().is_some_and(|extension| extension == "rs"), &mut files);
    files
}

fn protocol() -> String {
    read("docs/PROTOCOL.md")
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Some row of some table has all of these cells.
#[track_caller]
fn assert_row(document: &str, cells: &[&str]) {
    let has_all = |line: &str| {
        let row: Vec<&str> = line.split('|').map(str::trim).collect();
        line.starts_with('|') && cells.iter().all(|cell| row.contains(cell))
    };
    assert!(document.lines().any(has_all), "no row for {cells:?} in docs/PROTOCOL.md");
}

fn request(message: &str) -> Request<'_> {
    Request::parse(message).expect("a message")
}

/// What the route of a message is answered with.
fn answer(message: &str, list: &[&str], now_ms: u64) -> String {
    let request = request(message);
    let reply = match &Routes::shipped().find(&request, Sender::default()).expect("a route").action {
        Action::Authenticate { reply, .. } | Action::Ping { reply } => reply,
        Action::Subscribe(channels) | Action::Unsubscribe(channels) => &channels.reply,
        other => panic!("{other:?}"),
    };
    let (mut json, now) = (String::new(), Timestamp(now_ms));
    reply.fill(&mut json, request.id, |place| match place {
        Place::UserId => Value::Text("ana"),
        Place::SessionId => Value::Text(SESSION),
        Place::Timestamp => Value::Shown(&now),
        Place::List => Value::List(list),
        other => panic!("{other:?}"),
    });
    json
}

/// What a client is told of a channel that is refused.
fn refused(message: &str, error: ChannelError, channel: &str) -> String {
    let request = request(message);
    let part = Part { field: "channels", items: &[channel] };
    let problem =
        Problem { code: error.code(), message: error.sentence(), request: Some(&request.kind), part: Some(part) };
    Message::error(problem).json_in_answer_to(request.id)
}

/// One of each kind. A new kind does not compile until it is in the list.
fn session_errors() -> Vec<SessionError> {
    use RequestError::*;
    use SessionError::*;
    let of_requests = [BadJson, NotAnObject, NoType, UnknownType, MissingField("x"), BadField("x")];
    let mut all = vec![NotAuthenticated, Token(TokenError::NoExpiry), OtherUser, TooManyOfUser, RoleNotAllowed];
    all.extend([Forbidden, Channel(ChannelError::NotSubscribed), NoPresence]);
    all.extend([Busy, TypingTooMuch, TooManyRequests]);
    for error in of_requests {
        match error {
            BadJson | NotAnObject | NoType | UnknownType | MissingField(_) | BadField(_) => all.push(Request(error)),
        }
    }
    for failure in [Failure::Away, Failure::Full, Failure::Late, Failure::Broken, Failure::Refused] {
        match failure {
            Failure::Away | Failure::Full | Failure::Late | Failure::Broken | Failure::Refused => {
                all.push(Service(failure))
            }
        }
    }
    for error in &all {
        match error {
            Request(_) | NotAuthenticated | Token(_) | OtherUser | TooManyOfUser | RoleNotAllowed => {}
            Forbidden | Channel(_) | NoPresence | Busy | TypingTooMuch | TooManyRequests | Service(_) => {}
        }
    }
    all
}

fn first_string(line: &str) -> Option<&str> {
    line.split('"').nth(1)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// What stands between single backticks.
fn code_spans(document: &str) -> Vec<String> {
    prose(document).flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The lines that are not in a fenced block.
fn prose(document: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    document.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// The contents of the fenced blocks that hold TOML.
fn toml_blocks(document: &str) -> Vec<String> {
    let fenced = document.split("\n```").skip(1).step_by(2);
    let blocks = fenced.filter_map(|block| block.split_once('\n'));
    blocks.filter(|(kind, _)| kind.starts_with("toml")).map(|(_, text)| format!("{text}\n")).collect()
}

/// The name of a service that the same document shows.
fn name_of_service(line: &str) -> Option<&str> {
    line.strip_prefix("name = \"")?.strip_suffix('"')
}

/// Targets of links and pictures that stay in the tree.
fn links(document: &str) -> Vec<String> {
    let targets = prose(document).flat_map(|line| {
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let pictures = line.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
        inline.chain(pictures).map(str::to_owned).collect::<Vec<_>>()
    });
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// The headings as the anchors that hosts of Git repositories make of them.
fn anchors(document: &str) -> Vec<String> {
    let headings = prose(document).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|text| text.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

fn find_documents(folder: &Path, found: &mut Vec<PathBuf>) {
    find_files(folder, &|path| path.extension().is_some_and(|extension| extension == "md"), found);
}

fn find_files(folder: &Path, is_wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if !NOT_OURS.iter().any(|not_ours| name == *not_ours) {
                find_files(&path, is_wanted, found);
            }
        } else if is_wanted(&path) {
            found.push(path);
        }
    }
}
