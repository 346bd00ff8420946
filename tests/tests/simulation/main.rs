//! Simulated worlds, one for each seed: fixed seeds, and new ones in each run.
//!
//! `cargo test` runs both kinds for some seconds, some of them twice, and measures the memory of sessions.
//! With `--seed` it prints the trace of one seed, with `--seeds` it runs a number of them; see `--help`.

mod campaign;
mod seeds;

use clap::Parser;
use libtest_mimic::{Arguments, Trial};

/// Runs simulated worlds. Without these options, the arguments are those of any test, and a few seconds of
/// seeds are run.
#[derive(Debug, Parser)]
#[command(name = "cargo test -p oci-proto-tests --test simulation --")]
struct Options {
    /// Runs one seed, and prints its trace
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs COUNT seeds, and counts the events (best with `cargo test --release`)
    #[arg(long, value_name = "COUNT")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
}

fn main() {
    let is_ours = |arg: String| {
        ["--seed", "--seeds", "--from"].contains(&arg.split('=').next().unwrap_or_default())
            || ["--help", "-h"].contains(&arg.as_str())
    };
    if std::env::args().skip(1).any(is_ours) {
        let options = Options::parse();
        match (options.seed, options.seeds) {
            (Some(seed), _) => campaign::tell(seed),
            (None, Some(count)) => campaign::run_many(options.from, count),
            (None, None) => campaign::run_many(options.from, 1000),
        }
        return;
    }
    let tests = vec![
        Trial::test("worlds_that_are_the_same_each_time_keep_all_promises", || Ok(campaign::fixed()?)),
        Trial::test("worlds_that_nobody_has_seen_yet_keep_all_promises", || Ok(campaign::fresh()?)),
        Trial::test("the_same_seed_gives_the_same_run", || Ok(campaign::same()?)),
        Trial::test("a_session_holds_little_in_any_world", || Ok(campaign::held()?)),
    ];
    let mut arguments = Arguments::from_args();
    // Memory allocated by one test would count in another.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, tests).exit();
}
