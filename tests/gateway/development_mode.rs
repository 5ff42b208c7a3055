//! Promise: without any configuration it runs, for this machine only, and prints all that a first message needs.

use std::process::Command;

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::process::run;
use crate::support::wait::eventually;
use crate::support::wire;

#[test]
fn the_printed_token_connects_and_the_commands_name_the_ports() {
    let gateway = Gateway::start_bare();
    eventually("a token is printed", || printed_token(&gateway.log()).is_some());
    let log = gateway.log();
    assert!(log.contains(&gateway.public.to_string()), "{log}");
    assert!(log.contains(&gateway.admin().address.to_string()), "{log}");

    let mut client = Client::connect(&gateway, &printed_token(&log).expect("seen before"));
    client.subscribe(&["conv:c1"]);
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", "the first message"), 1);
    assert_eq!(client.next_text(), "the first message");
}

#[test]
fn the_printed_command_sends_a_first_message() {
    let gateway = Gateway::start_bare();
    eventually("a command is printed", || printed_command(&gateway.log()).is_some());
    let log = gateway.log();
    let mut client = Client::connect(&gateway, &printed_token(&log).expect("printed with the command"));
    client.subscribe(&["conv:c1"]);
    let finished = run(Command::new("sh").arg("-c").arg(printed_command(&log).expect("seen before")));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(wire::kind(&client.next_json()), "message.new");
}

/// From the first `curl` to the end of its line.
fn printed_command(log: &str) -> Option<&str> {
    log.lines().find_map(|line| Some(&line[line.find("curl ")?..]))
}

/// The first word that has the three parts of a JWT; its header begins with `{"` in base64.
fn printed_token(log: &str) -> Option<String> {
    let is_token_byte = |next: char| next.is_ascii_alphanumeric() || "-_.".contains(next);
    let mut words = log.split(|next| !is_token_byte(next));
    words.find(|word| word.starts_with("eyJ") && word.matches('.').count() == 2).map(str::to_owned)
}
