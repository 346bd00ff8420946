//! Drives the core without any I/O: a registry in this program answers its requests.
//!
//! `cargo run -p oci-proto --example embedding`
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a driver reads the clock")]
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::thread;
use std::time::Instant;

use oci_proto::server::{Body, Memory, Server};
use oci_proto::{Answer, Completion, Config, Error, Event, Exchange, Output, Reference, Session, Time};
use oci_proto::{Fault, FaultKind, Question, WalkOptions};

/// Walks everything under a reference. `carry` sends one request and reads its response.
fn walk(reference: &Reference, mut carry: impl FnMut(Exchange) -> Completion) -> Result<(), Error> {
    let start = Instant::now();
    let now = || Time::from_epoch(start.elapsed());
    let mut session = Session::new(Config::default(), 0);
    session.walk(reference, WalkOptions::default());
    loop {
        match session.poll_output(now()) {
            Output::Send(exchange) => {
                let completion = carry(exchange);
                session.complete(now(), completion);
            }
            Output::Ask(query, question) => session.answer(now(), query, answer(&question)),
            Output::Event(_, Event::Node(node)) => println!("{} {}", node.depth, node.descriptor.digest),
            Output::Event(_, Event::Done) => return Ok(()),
            Output::Event(_, Event::Failed(error)) => return Err(error),
            Output::Event(..) | Output::Abort(_) => {}
            Output::Wait(Some(until)) => thread::sleep(until.saturating_since(now())),
            Output::Wait(None) => unreachable!("every exchange is complete, and every question answered"),
        }
    }
}

/// There are no credentials here. A walk asks no other questions.
fn answer(question: &Question) -> Answer {
    match question {
        Question::Credentials(_) => Answer::Credentials(None),
        Question::Held { .. }
        | Question::Store { .. }
        | Question::Document { .. }
        | Question::Referrers { .. }
        | Question::Read { .. } => {
            Answer::Failed(Fault::new(FaultKind::Unsupported, "a walk stores nothing"))
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (memory, root) = Memory::sample();
    let mut registry = Server::new();
    registry.add(&"demo".parse()?, Some(&"latest".parse()?), &root, &memory)?;
    walk(&"registry.example/demo".parse()?, |exchange| {
        // A walk has no payloads to send.
        let (request, _, awaiting) = exchange.split();
        let (head, body) = registry.respond(&request.into_parts().0).into_parts();
        let mut receiving = awaiting.head(head.status, head.headers);
        if let Body::Bytes(bytes) = body {
            // If the body is refused, the completion contains the cause.
            let _ = receiving.push(&bytes);
        }
        receiving.finish()
    })?;
    Ok(())
}
