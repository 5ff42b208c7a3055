//! Many clients in one thread, read in turn. Called by the tests that are about numbers.

use std::time::Instant;

use super::client::{Client, Event};
use super::gateway::Gateway;
use super::tokens::token;
use super::wait::{DEADLINE, PAUSE};

pub struct Crowd {
    pub clients: Vec<Client>,
}

impl Crowd {
    /// `count` users named `{prefix}{index}`, connected and subscribed to `channel`.
    #[track_caller]
    pub fn subscribed(gateway: &Gateway, prefix: &str, count: usize, channel: &str) -> Crowd {
        let connect = |index| {
            let mut client = Client::connect(gateway, &token(&format!("{prefix}{index}")));
            client.subscribe(&[channel]);
            client.set_nonblocking();
            client
        };
        Crowd { clients: (0..count).map(connect).collect() }
    }

    /// Reads until everyone has had `count` text messages; `check(client, message, text)` sees each.
    #[track_caller]
    pub fn receive(&mut self, count: usize, mut check: impl FnMut(usize, usize, &str)) {
        let mut had = vec![0; self.clients.len()];
        self.each_until_done(
            || {},
            |index, event| {
                match event {
                    Event::Text(text) => {
                        check(index, had[index], &text);
                        had[index] += 1;
                    }
                    Event::Ping | Event::Pong => {}
                    ended => panic!("client {index} ended after {} messages: {ended:?}", had[index]),
                }
                had[index] == count
            },
        );
    }

    /// Reads until everyone was closed; the codes, None for a connection that ended without a close frame.
    /// Before each round of reading, `meanwhile` is called.
    #[track_caller]
    pub fn close_codes(&mut self, meanwhile: impl FnMut()) -> Vec<Option<u16>> {
        let mut codes = vec![None; self.clients.len()];
        self.each_until_done(meanwhile, |index, event| match event {
            Event::Closed(code) => {
                codes[index] = code;
                true
            }
            Event::Gone => true,
            Event::Text(_) | Event::Ping | Event::Pong => false,
        });
        codes
    }

    /// Reads in turn; whoever's `handle` returned true is done. Panics when nothing comes for the whole deadline.
    #[track_caller]
    fn each_until_done(&mut self, mut meanwhile: impl FnMut(), mut handle: impl FnMut(usize, Event) -> bool) {
        let mut waiting: Vec<usize> = (0..self.clients.len()).collect();
        let mut last = Instant::now();
        while !waiting.is_empty() {
            meanwhile();
            let mut moved = false;
            waiting.retain(|&index| {
                while let Some(event) = self.clients[index].poll() {
                    moved = true;
                    if handle(index, event) {
                        return false;
                    }
                }
                true
            });
            if moved {
                last = Instant::now();
                continue;
            }
            assert!(last.elapsed() < DEADLINE, "{} clients had nothing within {DEADLINE:?}", waiting.len());
            std::thread::sleep(PAUSE);
        }
    }
}
