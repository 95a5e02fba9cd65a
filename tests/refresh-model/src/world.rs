//! All there is around one token: its row, its network, the spill queue and its reader, and processes that refresh it.

use std::rc::Rc;

use super::{
    network::Network,
    row::{Answer, Attempt, Row, Stage},
};

/// All there is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) row: Rc<Row>,
    pub(super) network: Network,
    pub(super) queue: Vec<Message>,
    /// In order: which process does something says nothing.
    pub(super) processes: [Process; 3],
    pub(super) reader: Option<Reading>,
    pub(super) past: Past,
    /// How often each [`Mishap`] may still happen.
    pub(super) left: [u8; 11],
}

/// What the rows do not tell and the verdict needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Past {
    /// An answer with a living refresh token vanished.
    pub(super) lost: bool,
    /// The same, or a request was carried out after it was given up, or somebody slept past the end of the lease.
    pub(super) gap: bool,
    /// Since the last grant a request was not answered or somebody vanished.
    pub(super) doubt: bool,
}

/// What may go wrong, or happen of its own, so many times in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// An access token grows old.
    Age,
    /// A process ends at a moment at which it holds no grant that nobody else has.
    Crash,
    /// A process ends between the network's answer and its storing.
    CrashWithGrant,
    /// The network answers and the answer is lost.
    AnswerLost,
    /// A request is given up; it may or may not arrive later.
    GivenUp,
    /// The network does nothing: it is down, or limits.
    Untouched,
    /// A write fails, or is done and said to have failed.
    Table,
    /// A spilled answer is not delivered before the quiet time is over.
    LateDelivery,
    /// A process sleeps past the end of its lease.
    Nap,
    /// The person takes the permission back.
    Revoked,
    /// The person signs in again.
    SignIn,
}

impl Mishap {
    /// All of them but time, which passes anyhow.
    pub(super) const ALL: [Self; 10] = [
        Self::Crash,
        Self::CrashWithGrant,
        Self::AnswerLost,
        Self::GivenUp,
        Self::Untouched,
        Self::Table,
        Self::LateDelivery,
        Self::Nap,
        Self::Revoked,
        Self::SignIn,
    ];
}

/// A spilled answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    pub(super) connected: u8,
    pub(super) answer: Answer,
    /// It came after the attempt was marked orphaned: it need not be delivered before the quiet time is over.
    pub(super) late: bool,
}

/// The spill reader with a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reading {
    pub(super) held: Rc<Row>,
    pub(super) answer: Answer,
    /// It could not be committed.
    pub(super) keeping: bool,
}

/// Where a process is, with all that it knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Process {
    Idle,
    Orphaning(Rc<Row>),
    Adopting(Rc<Row>, u8),
    Beginning {
        held: Rc<Row>,
        spends: u8,
        doubtful: bool,
        tried: Option<u8>,
    },
    /// The request is sent or about to be.
    Asking(Request),
    /// The network refused the refresh token.
    Denied(Request),
    /// The network gave this refresh token.
    Placing(Request, u8),
    Keeping(Request, u8),
    Spilling(Request, u8),
    Ending {
        request: Request,
        unanswered: bool,
    },
    Dying {
        held: Rc<Row>,
        lost_answer: bool,
    },
    /// Not a refresh: the owner's sign-in, about to be stored.
    SigningIn(Rc<Row>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Request {
    /// The row as it was when the attempt began; its fence is the attempt's.
    pub(super) held: Rc<Row>,
    pub(super) spends: u8,
    pub(super) doubtful: bool,
    /// Its holder slept past the end of the lease.
    pub(super) overdue: bool,
}

impl World {
    pub(super) fn new(network: Network, mishaps: &[Mishap]) -> Self {
        let processes = [const { Process::Idle }; 3];
        let mut left = [0; 11];
        for mishap in mishaps {
            left[*mishap as usize] += 1;
        }
        let (row, past) = (Rc::new(Row::new()), Past::default());
        Self { row, network, queue: Vec::new(), processes, reader: None, past, left }
    }

    /// Whether the refresh token is written anywhere, or in the hands of a process that will write it.
    pub(super) fn holds(&self, token: u8) -> bool {
        let row = &self.row;
        row.present == token
            || row.candidates.iter().any(|answer| answer.brings == token)
            || self.queue.iter().any(|message| message.answer.brings == token && message.connected == row.connected)
            || self.processes.iter().any(|process| match process {
                Process::Placing(_, brings) | Process::Keeping(_, brings) | Process::Spilling(_, brings) => {
                    *brings == token
                }
                _ => false,
            })
    }

    /// Whether nobody is at anything.
    pub(super) fn is_at_rest(&self) -> bool {
        self.processes.iter().all(|process| *process == Process::Idle) && self.queue.is_empty()
    }

    pub(super) fn with(&self, n: usize, process: Process) -> Self {
        let mut world = self.clone();
        world.processes[n] = process;
        world
    }

    pub(super) fn write(&mut self, row: Row) {
        let orphaned = |row: &Row| matches!(row.attempt, Some(Attempt { stage: Stage::Orphaned { .. }, .. }));
        if orphaned(&row) && !orphaned(&self.row) {
            self.queue.iter_mut().for_each(|message| message.late = false);
        }
        if row.generation != self.row.generation && row.attempt.is_none() {
            (self.past.doubt, self.past.lost) = (false, false);
        }
        if row.connected != self.row.connected {
            self.past = Past::default();
        }
        self.row = Rc::new(row);
    }

    /// A grant is gone from where it was.
    pub(super) fn vanished(&mut self, token: u8) {
        let lost = self.network.honours(token) && !self.holds(token);
        self.past.lost |= lost;
        self.past.gap |= lost;
    }

    pub(super) fn delivered(&mut self, answer: Answer) {
        self.reader = None;
        self.queue.retain(|message| message.answer != answer);
    }
}

impl Process {
    /// Whether this process holds the attempt that is running in `row`.
    pub(super) fn owns(&self, row: &Row) -> bool {
        let running = |row: &Row| matches!(row.attempt, Some(Attempt { stage: Stage::Running { over: false }, .. }));
        let owner = match self {
            Self::Idle | Self::Orphaning(_) | Self::SigningIn(_) | Self::Beginning { tried: None, .. } => false,
            Self::Adopting(held, _) => running(held),
            _ => true,
        };
        owner && self.held().is_some_and(|held| held.fence == row.fence)
    }

    pub(super) fn held(&self) -> Option<&Row> {
        match self {
            Self::Idle => None,
            Self::Orphaning(held)
            | Self::Adopting(held, _)
            | Self::Beginning { held, .. }
            | Self::Dying { held, .. }
            | Self::SigningIn(held) => Some(held),
            _ => self.request().map(|request| &*request.held),
        }
    }

    /// The request that it has sent, as long as it has not dealt with its end.
    pub(super) fn request(&self) -> Option<&Request> {
        match self {
            Self::Asking(request)
            | Self::Denied(request)
            | Self::Placing(request, _)
            | Self::Keeping(request, _)
            | Self::Spilling(request, _)
            | Self::Ending { request, .. } => Some(request),
            _ => None,
        }
    }

    pub(super) fn oversleep(&mut self) {
        match self {
            Self::Asking(request)
            | Self::Denied(request)
            | Self::Placing(request, _)
            | Self::Keeping(request, _)
            | Self::Spilling(request, _)
            | Self::Ending { request, .. } => request.overdue = true,
            _ => {}
        }
    }
}

impl Request {
    pub(super) fn answer(&self, brings: u8) -> Answer {
        Answer { attempt: self.held.fence, answers: self.spends, brings }
    }
}
