//! Keeps the documents true where that is cheap: what the code can answer stands in docs/PROTOCOL.md, its examples are
//! what the code writes, and every relative link leads somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use ringway::auth::TokenError;
use ringway::config::Key;
use ringway::metrics::Timed;
use ringway::protocol::reply;
use ringway::protocol::request::RequestError;
use ringway::ws::close::CloseCode;
use ringway::ws::handshake::Refusal;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

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
        assert_row(&protocol, &[&refusal.status().to_string(), &format!("`{}`", refusal.code())]);
    }
    for error in TokenError::ALL {
        assert_row(&protocol, &[&format!("`{}`", error.name())]);
    }
}

#[test]
fn every_error_message_has_its_row() {
    let protocol = protocol();
    for error in request_errors() {
        assert_row(&protocol, &[&format!("`{}`", error.code())]);
    }
    let codes = session_error_codes();
    assert!(codes.contains(&"other_user".to_owned()) && codes.contains(&"too_many_channels".to_owned()), "{codes:?}");
    for code in codes {
        assert_row(&protocol, &[&format!("`{code}`")]);
    }
}

#[test]
fn every_refusal_of_the_admin_port_has_its_row() {
    let protocol = protocol();
    let source = read("src/admin/refusal.rs");
    let rows: Vec<&str> = source.lines().filter(|line| line.contains("=> (Status::")).collect();
    assert!(rows.len() > 5, "the table of src/admin/refusal.rs is written in another way: {rows:?}");
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
    const SESSION: &str = "6a9c41d2-07be-8001-8000-00a100000007";
    const PING_MS: u64 = 1_795_150_433_760;
    let not_allowed = "not allowed to subscribe to these channels";
    let not_subscribed = "not subscribed to these channels";
    let missing = RequestError::MissingField("channels");
    let protocol = protocol();
    for written in [
        reply::connected("ana", SESSION, "node-1", 30_000),
        reply::auth_success("ana", SESSION, None),
        reply::token_expiring(30, 1_795_154_012),
        reply::pong(PING_MS, Some("\"p-1\"")),
        reply::heartbeat(PING_MS),
        reply::subscribed("channels", &["conv:c1", "clan:7"], Some("1")),
        reply::subscribed("conversation_ids", &["c2"], None),
        reply::error_about("not_allowed", not_allowed, "subscribe", ("channels", &["user:bob"]), Some("3")),
        reply::unsubscribed("channels", &["clan:7"], None),
        reply::error_about("not_subscribed", not_subscribed, "unsubscribe", ("channels", &["clan:9"]), None),
        reply::error(missing.code(), &missing.to_string(), Some("subscribe"), Some("\"r-17\"")),
    ] {
        let line = format!("\n< {}\n", written);
        assert!(protocol.contains(&line), "no such example in docs/PROTOCOL.md: {line}");
    }
}

#[test]
fn every_setting_that_is_named_exists() {
    let keys: Vec<String> = Key::all().iter().map(Key::to_string).collect();
    let sections: Vec<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    // `auth.success` is a message.
    let named = code_spans(&protocol()).into_iter().filter(|span| span != "auth.success");
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

/// One of each kind. A new kind does not compile until it is in the list.
fn request_errors() -> Vec<RequestError> {
    use RequestError::*;
    let all = vec![BadJson, NotAnObject, NoType, UnknownType, MissingField("x"), BadField("x")];
    for error in &all {
        match error {
            BadJson | NotAnObject | NoType | UnknownType | MissingField(_) | BadField(_) => {}
        }
    }
    all
}

/// The codes that sessions answer with beside those of tokens and requests: the literals in the calls that send them.
fn session_error_codes() -> Vec<String> {
    let source = read("src/shard/session/mod.rs");
    let sent = source.lines().filter(|line| line.contains(".refuse(\"") || line.contains(".refuse_channels(\""));
    let denied = source.lines().skip_while(|line| !line.starts_with("impl Denied")).take_while(|line| *line != "}");
    let of_denied = denied.take_while(|line| !line.contains("fn sentence")).filter(|line| line.contains("=> \""));
    sent.chain(of_denied).filter_map(first_string).map(str::to_owned).collect()
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
