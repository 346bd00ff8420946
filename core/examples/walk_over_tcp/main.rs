//! Drives the core with only `std::net::TcpStream` and httparse: walks a registry over plain HTTP, with one
//! request at a time on one connection.
//!
//! `cargo run -p oci-proto --example walk_over_tcp -- 127.0.0.1:5000/team/app:1`
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a driver does I/O")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use connection::{Connection, Contents};
use oci_proto::{Answer, Config, Event, Fault, FaultKind, Output, PlainHttp, Question, Reference, Session};
use oci_proto::{Sink, Source, Time, WalkOptions};

pub(crate) mod connection;
mod head;
mod wire;

fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args().nth(1).ok_or("usage: walk_over_tcp HOST:PORT/REPOSITORY:TAG")?;
    walk(&text.parse()?, &mut io::stdout())
}

/// Prints the tree under a reference.
pub(crate) fn walk(reference: &Reference, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.plain_http = PlainHttp::Always;
    let mut session = Session::new(config, 0);
    let mut connection = Connection::new(Duration::from_secs(30));
    let start = Instant::now();
    let now = || Time::from_epoch(start.elapsed());
    session.walk(reference, WalkOptions::default());
    loop {
        match session.poll_output(now()) {
            Output::Send(exchange) => {
                let completion = connection.carry(exchange, &mut Nothing);
                session.complete(now(), completion);
            }
            Output::Ask(query, question) => session.answer(now(), query, answer(&question)),
            Output::Event(_, Event::Node(node)) => {
                let indent = "  ".repeat(node.depth as usize);
                writeln!(out, "{indent}{} {} {}", node.kind, node.descriptor.digest, node.descriptor.size)?;
            }
            Output::Event(_, Event::Done) => return Ok(()),
            Output::Event(_, Event::Failed(error)) => return Err(error.into()),
            // Each exchange ends before the session is polled again, so nothing can be aborted.
            Output::Event(..) | Output::Abort(_) => {}
            Output::Wait(Some(until)) => thread::sleep(until.saturating_since(now())),
            Output::Wait(None) => unreachable!("every exchange is complete, and every question answered"),
        }
    }
}

/// This driver has no credentials. A walk asks no other questions.
fn answer(question: &Question) -> Answer {
    match question {
        Question::Credentials(_) => Answer::Credentials(None),
        Question::Held { .. }
        | Question::Store { .. }
        | Question::Document { .. }
        | Question::Read { .. } => {
            Answer::Failed(Fault::new(FaultKind::Unsupported, "a walk stores nothing"))
        }
    }
}

/// A walk has neither sinks nor sources: the core keeps its documents.
struct Nothing;

impl Contents for Nothing {
    fn write(&mut self, _: &Sink, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self, _: &Sink) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read(&mut self, _: &Source) -> io::Result<Box<dyn Read>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
