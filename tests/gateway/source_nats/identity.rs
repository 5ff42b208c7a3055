//! Who connects to NATS, and that nobody reads it out of the log.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use sonic_rs::json;
use tempfile::TempDir;

use super::*;
use crate::support::process::run;

const HIDDEN: &str = "hunter2";

fn assert_reached(gateway: &Gateway, nats: &Nats, options: &str) {
    let mut client = Client::connect(gateway, &token("u1"));
    nats.peer_as(options).publish("ws.user.u1", "found");
    assert_eq!(client.next_text(), "found");
    assert!(!gateway.log().contains(HIDDEN), "{}", gateway.log());
    assert!(!gateway.admin().get("/readyz").body.contains(HIDDEN));
}

#[test]
fn a_password_or_token_opens_and_is_never_shown() {
    let users = format!("authorization {{ user: u, password: {HIDDEN} }}");
    let nats = Nats::start_with(&users);
    let in_url = config(&nats).set("nats.url", nats.url_as(&format!("u:{HIDDEN}")));
    let in_keys = config(&nats).set("nats.user", "u").set("nats.password", HIDDEN);
    let options = format!(r#"{{"user":"u","pass":"{HIDDEN}"}}"#);
    for config in [in_url, in_keys] {
        assert_reached(&Gateway::start(config.set("log.level", "trace")), &nats, &options);
    }
    let nats = Nats::start_with(&format!("authorization {{ token: {HIDDEN} }}"));
    let in_url = config(&nats).set("nats.url", nats.url_as(HIDDEN));
    let in_keys = config(&nats).set("nats.token", HIDDEN);
    for config in [in_url, in_keys] {
        let options = format!(r#"{{"auth_token":"{HIDDEN}"}}"#);
        assert_reached(&Gateway::start(config.set("log.level", "trace")), &nats, &options);
    }
}

#[test]
fn who_may_not_connect_or_subscribe_says_so() {
    let nats = Nats::start_with(
        "authorization { users: [\n\
         { user: u, password: right }\n\
         { user: deaf, password: right, permissions: { subscribe: \"_INBOX.>\" } }\n\
         { user: mute, password: right, permissions: { publish: \"nothing\" } }\n] }",
    );
    for (user, password, reason) in
        [("u", "wrong", "authorization violation"), ("deaf", "right", "Permissions Violation for Subscription")]
    {
        let config = config(&nats).set("nats.user", user).set("nats.password", password);
        let gateway = Gateway::start_alive(config);
        eventually("readiness says why", || gateway.admin().get("/readyz").body.contains(reason));
        assert!(names_nats_as_lost(&gateway));
    }
    // Who may only listen is a source as well.
    let config = config(&nats).set("nats.user", "mute").set("nats.password", "right");
    let options = r#"{"user":"u","pass":"right"}"#;
    assert_reached(&Gateway::start(config), &nats, options);
}

/// A user of the gateway's own who may hear these subjects, and somebody who may do everything.
fn hearing(subjects: &str) -> String {
    format!(
        "authorization {{ users: [\n{{ user: u, password: right }}\n\
         {{ user: gateway, password: right, permissions: {{ subscribe: {{ allow: [{subjects}] }} }} }}\n] }}"
    )
}

#[test]
fn who_may_not_hear_any_more_says_so_and_hears_again_when_he_may() {
    let nats = Nats::start_with(&hearing("'ws.>', '_INBOX.>'"));
    for group in [None, Some("nodes")] {
        let config = config(&nats).set("nats.user", "gateway").set("nats.password", "right");
        let config = group.into_iter().fold(config, |config, group| config.set("nats.queue_group", group));
        let gateway = Gateway::start(config);
        let options = r#"{"user":"u","pass":"right"}"#;
        assert_reached(&gateway, &nats, options);
        nats.reload_with(&hearing("'_INBOX.>'"));
        eventually("readiness names nats as lost", || names_nats_as_lost(&gateway));
        let why = "Permissions Violation for Subscription";
        eventually("readiness says why", || gateway.admin().get("/readyz").body.contains(why));
        assert!(gateway.log().contains(why), "{}", gateway.log());
        nats.reload_with(&hearing("'ws.>', '_INBOX.>'"));
        eventually("ready again", || is_ready(&gateway));
        assert_reached(&gateway, &nats, options);
    }
}

#[test]
fn a_server_is_believed_by_its_certificate() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let (ours, other) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "other"));
    let (certificate, key) = ours.certificate_for("127.0.0.1");
    let nats = Nats::start_with(&format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}"));
    let url = nats.url().replace("nats://", "tls://");
    let config = |authority: &Authority| {
        let file = authority.certificate.display().to_string();
        Config::new().set("nats.url", url.clone()).set("nats.tls_ca_file", file)
    };
    let gateway = Gateway::start(config(&ours));
    assert!(is_ready(&gateway));
    let gateway = Gateway::start_alive(config(&other));
    eventually("readiness says why", || gateway.admin().get("/readyz").body.contains("certificate"));
    // Nobody in between makes a connection without TLS of it.
    let plain = Nats::start();
    let url = plain.url().replace("nats://", "tls://");
    let gateway = Gateway::start_alive(config(&ours).set("nats.url", url));
    eventually("readiness names nats as lost", || names_nats_as_lost(&gateway));
}

/// Who signs certificates, made by openssl.
struct Authority {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
            |c| {
                c.args(["-subj", &format!("/CN={name}"), "-addext", "basicConstraints=critical,CA:TRUE"]);
                c.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
            },
        );
        Self { certificate, key }
    }

    /// A certificate for an address, and its key.
    fn certificate_for(&self, address: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.certificate.with_extension("server"), self.key.with_extension("server-key"));
        openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
            |c| {
                c.args(["-subj", "/CN=server", "-addext", &format!("subjectAltName=IP:{address}")]);
                c.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
                c.arg("-CA").arg(&self.certificate).arg("-CAkey").arg(&self.key);
                c.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
            },
        );
        (certificate, key)
    }
}

fn openssl(arguments: &[&str], more: impl FnOnce(&mut Command)) {
    let mut command = Command::new("openssl");
    command.args(arguments);
    more(&mut command);
    let finished = run(&mut command);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_credentials_file_opens_and_is_read_again_for_every_connection() {
    let operated = Operated::new();
    let mut nats = Nats::start_with(&operated.lines);
    let file = operated.folder.path().join("gateway.creds");
    let config = config(&nats).set("nats.credentials_file", file.display().to_string());
    let gateway = Gateway::start_alive(config.set("log.level", "trace"));
    eventually("readiness names the file", || gateway.admin().get("/readyz").body.contains("gateway.creds"));
    let (credentials, seed) = operated.user();
    std::fs::write(&file, credentials).expect("the temp dir is writable");
    eventually("ready", || is_ready(&gateway));
    nats.kill();
    eventually("readiness names nats as lost", || names_nats_as_lost(&gateway));
    nats.restart();
    eventually("ready again", || is_ready(&gateway));
    assert!(!gateway.log().contains(&seed), "{}", gateway.log());
}

/// What an operator gives a server, and users of his.
struct Operated {
    folder: TempDir,
    account: KeyPair,
    /// For the server's configuration.
    lines: String,
}

impl Operated {
    fn new() -> Self {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        let about_operator = json!({"type": "operator", "version": 2});
        let about_account = json!({"type": "account", "version": 2, "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1
        }});
        let operator_jwt = jwt(&operator, &operator.public_key(), &about_operator);
        let account_jwt = jwt(&operator, &account.public_key(), &about_account);
        let folder = tempfile::tempdir().expect("a temp dir");
        let file = folder.path().join("operator.jwt");
        std::fs::write(&file, operator_jwt).expect("the temp dir is writable");
        let lines = format!(
            "operator: {file:?}\nresolver: MEMORY\nresolver_preload: {{ {}: {account_jwt:?} }}",
            account.public_key()
        );
        Self { folder, account, lines }
    }

    /// The file of a new user, and the seed in it.
    fn user(&self) -> (String, String) {
        let user = KeyPair::new_user();
        let about = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        let jwt = jwt(&self.account, &user.public_key(), &about);
        let seed = user.seed().expect("it has one");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        (text, seed)
    }
}

/// Something that `issuer` says of `subject`.
fn jwt(issuer: &KeyPair, subject: &str, about: &sonic_rs::Value) -> String {
    let claims = json!({
        "jti": "x", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject, "name": "test", "nats": about
    });
    let part = |value: &sonic_rs::Value| URL_SAFE_NO_PAD.encode(sonic_rs::to_string(value).expect("plain data"));
    let signed = format!("{}.{}", part(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("it has a seed");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
