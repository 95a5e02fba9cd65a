//! The clock of the sandbox: the machine's own, some time ahead.
//!
//! It only moves forward, as time does, so that nothing that was stored ever lies in the future.
//! How far it is ahead is saved: after a restart, "31 days later" is still 31 days later.

use std::io;

use jiff::{SignedDuration, Timestamp};
use shared::clock::Clock;
use tokio::sync::watch;

use crate::data::{DataDir, Saved};

/// A clock that can be moved forward.
#[derive(Clone, Debug)]
pub struct MovableClock {
    machine: Clock,
    ahead_seconds: Saved<i64>,
    moves: watch::Sender<()>,
}

/// The calendar ends in the year 9999, and with it the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock cannot be moved beyond the year 9999")]
pub struct EndOfCalendar;

impl MovableClock {
    /// The clock as it was left in `dir`, or the machine's own.
    ///
    /// # Errors
    /// When what was saved cannot be read.
    pub fn open(dir: &DataDir) -> io::Result<Self> {
        Self::over(Clock::system(), dir)
    }

    fn over(machine: Clock, dir: &DataDir) -> io::Result<Self> {
        Ok(Self { machine, ahead_seconds: Saved::open(dir, "clock.json", || 0)?, moves: watch::Sender::default() })
    }

    /// The time in the sandbox.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let ahead = self.ahead_seconds.read(|seconds| SignedDuration::from_secs(*seconds));
        self.machine.now().checked_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// Moves the clock forward and tells the new time.
    ///
    /// # Errors
    /// When that is beyond the calendar; the clock stays where it is.
    pub fn advance(&self, seconds: u32) -> Result<Timestamp, EndOfCalendar> {
        let machine = self.machine.now();
        let moved = self.ahead_seconds.change(|ahead| {
            let further = *ahead + i64::from(seconds);
            let now = machine.checked_add(SignedDuration::from_secs(further)).map_err(|_| EndOfCalendar)?;
            *ahead = further;
            Ok(now)
        });
        self.moves.send_replace(());
        moved
    }

    /// Changes whenever the clock is moved.
    pub(crate) fn moves(&self) -> watch::Receiver<()> {
        self.moves.subscribe()
    }

    /// The same clock for the product, which can only read it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Clock::from_fn(move || this.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS_31: u32 = 31 * 24 * 60 * 60;

    fn noon() -> Clock {
        Clock::from_fn(|| "2026-11-23T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn everybody_who_was_handed_the_clock_sees_it_move() {
        let clock = MovableClock::over(noon(), &DataDir::memory()).unwrap();
        let handed_out = clock.clock();
        assert_eq!(clock.advance(DAYS_31), Ok("2026-12-24T12:00:00Z".parse().unwrap()));
        assert_eq!(handed_out.now(), clock.now());
        assert_eq!(handed_out.now().to_string(), "2026-12-24T12:00:00Z");
    }

    #[test]
    fn a_restart_does_not_turn_the_clock_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = DataDir::at(dir.path()).unwrap();
        MovableClock::over(noon(), &dir).unwrap().advance(DAYS_31).unwrap();
        let reopened = MovableClock::over(noon(), &dir).unwrap();
        assert_eq!(reopened.now().to_string(), "2026-12-24T12:00:00Z");
    }

    #[test]
    fn the_clock_stays_where_it_is_rather_than_leave_the_calendar() {
        let clock = MovableClock::over(noon(), &DataDir::memory()).unwrap();
        while clock.advance(u32::MAX).is_ok() {}
        let last = clock.now();
        assert_eq!(clock.advance(u32::MAX), Err(EndOfCalendar));
        assert_eq!(clock.now(), last);
    }
}
