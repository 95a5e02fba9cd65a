//! A simulation of any size, on demand: `cargo bench -p tests --bench simulation -- 1000000 45` (tokens, days). A million
//! tokens take a quarter of an hour to load, ten minutes a day, and 14 GB, on two cores: eight hours for 45 days.
#![expect(clippy::unwrap_used, reason = "a bench that goes wrong ends")]

#[path = "../simulation/mod.rs"]
mod simulation;
#[path = "../support.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod support;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (tokens, days) = (numbers.next().unwrap_or(20_000), numbers.next().unwrap_or(45));
    let counted = simulation::run(tokens, days).await;
    println!("{}", counted.table());
    // fewer tokens make too few rows a tick to compare ticks
    if tokens >= 20_000 {
        counted.assert_bounds();
    }
}
