//! Drives the core without any I/O: the exchanges are carried to a registry in this program.
//!
//! `cargo run -p oci-proto --example embedding`
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a driver keeps the core's time")]
#![expect(clippy::print_stdout, reason = "the tree is what it prints")]

use std::thread;
use std::time::Instant;

use oci_proto::server::{Body, Memory, Server};
use oci_proto::{Completion, Config, Error, Event, Exchange, Output, Reference, Session, Time, WalkOptions};

/// Walks what is under a reference. `carry` sends one request and reads its response.
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
            Output::Credentials(query, _) => session.credentials(now(), query, Ok(None)),
            Output::Event(_, Event::Node(node)) => println!("{} {}", node.depth, node.descriptor.digest),
            Output::Event(_, Event::Done) => return Ok(()),
            Output::Event(_, Event::Failed(error)) => return Err(error),
            Output::Wait(Some(until)) => thread::sleep(until.saturating_since(now())),
            // Nothing is left out or unanswered, so that Wait(None) does not come.
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (memory, root) = Memory::sample();
    let mut registry = Server::new();
    registry.add(&"demo".parse()?, Some(&"latest".parse()?), &root, &memory)?;
    walk(&"registry.example/demo".parse()?, |exchange| {
        let (request, awaiting) = exchange.split();
        let (head, body) = registry.respond(&request.into_parts().0).into_parts();
        let mut receiving = awaiting.head(&head);
        if let Body::Bytes(bytes) = body {
            // What is refused is known to the completion.
            let _ = receiving.push(&bytes);
        }
        receiving.finish()
    })?;
    Ok(())
}
