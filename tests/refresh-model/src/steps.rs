//! Each step is one request, one write, or some time that passes; what is written is decided by the row's conditions.

use std::rc::Rc;

use shared::{
    renewal::{Fruitless, Next, Refused},
    token::Reason,
};

use super::{
    row::{Access, Attempt, Kept, Row, Stage},
    world::{Message, Mishap, Process, Reading, Request, World},
};

/// Something that can happen, and the world after it.
pub(super) struct Step {
    /// The attempt or the fence that whoever does it goes by.
    pub(super) who: u8,
    pub(super) what: &'static str,
    /// Whether it happens where nothing goes wrong.
    pub(super) expected: bool,
    pub(super) then: World,
}

impl World {
    /// All that can happen next. What comes first happens first where nothing goes wrong.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Steps { from: self, steps: Vec::new() };
        for (n, process) in self.processes.iter().enumerate() {
            if n == 0 || *process != self.processes[n - 1] {
                steps.of_process(n, process);
            }
        }
        steps.of_reader();
        if self.processes[0] == Process::Idle {
            steps.of_newcomer();
        }
        steps.of_time();
        steps.of_people();
        steps.steps
    }
}

struct Steps<'a> {
    from: &'a World,
    steps: Vec<Step>,
}

impl Steps<'_> {
    fn add(&mut self, who: u8, what: &'static str, expected: bool, mut then: World) {
        then.processes.sort_unstable();
        self.steps.push(Step { who, what, expected, then });
    }

    fn expected(&mut self, who: u8, what: &'static str, then: World) {
        self.add(who, what, true, then);
    }

    /// Something that happens at most so often.
    fn mishap(&mut self, who: u8, what: &'static str, mishap: Mishap, mut then: World) {
        let left = &mut then.left[mishap as usize];
        if *left > 0 {
            *left -= 1;
            self.add(who, what, false, then);
        }
    }

    /// A conditional write of the `n`th process, which goes on as `done`, `refused` or `failed`.
    fn write(
        &mut self,
        (n, who, what): (usize, u8, &'static str),
        row: Option<Row>,
        done: Process,
        refused: Process,
        failed: Process,
    ) {
        let from = self.from;
        let owned = from.processes[n].owns(&from.row) && failed == Process::Idle;
        let fail = |mut world: World| {
            world.past.doubt |= owned;
            world
        };
        match row {
            Some(row) => {
                let written = |process| {
                    let mut world = from.with(n, process);
                    world.write(row.clone());
                    world
                };
                self.expected(who, what, written(done));
                let mut unsure = written(failed.clone());
                unsure.past.doubt |= matches!(from.processes[n], Process::Beginning { .. });
                self.mishap(who, "its write is done and said to have failed", Mishap::Table, unsure);
            }
            None => self.expected(who, "it finds that it was second", from.with(n, refused)),
        }
        self.mishap(who, "its write fails", Mishap::Table, fail(from.with(n, failed)));
    }

    fn of_process(&mut self, n: usize, process: &Process) {
        let (from, row) = (self.from, &self.from.row);
        let idle = || Process::Idle;
        match process {
            Process::Idle => return,
            Process::Orphaning(held) => {
                let step = (n, held.fence, "somebody marks the attempt as orphaned");
                self.write(step, row.orphan(held), idle(), idle(), idle());
            }
            Process::Adopting(held, candidate) => {
                let step = (n, *candidate, "its late answer is adopted");
                self.write(step, row.adopt(held, *candidate), idle(), idle(), idle());
            }
            Process::Beginning { held, spends, doubtful, tried } => {
                let begun = row.begin(held, *spends, *tried);
                let asking = |row: &Row| {
                    let held = Rc::new(row.clone());
                    Process::Asking(Request { held, spends: *spends, doubtful: *doubtful, overdue: false })
                };
                let step = (n, begun.as_ref().map_or(held.fence, |row| row.fence), "it begins");
                let done = begun.as_ref().map_or(Process::Idle, asking);
                self.write(step, begun, done, idle(), idle());
            }
            Process::Asking(request) => return self.of_request(n, request),
            Process::Denied(request) => self.of_denied(n, request),
            Process::Placing(request, brings) => {
                let answer = request.answer(*brings);
                let [keeping, spilling] =
                    [Process::Keeping, Process::Spilling].map(|then| then(request.clone(), *brings));
                let step = (n, answer.attempt, "its answer is committed");
                self.write(step, row.commit(&request.held, answer), idle(), keeping, spilling);
                self.lose_reply(n, request, Some(*brings));
            }
            Process::Keeping(request, brings) => {
                let answer = request.answer(*brings);
                let (kept, done) = match row.keep(&request.held, answer) {
                    Kept::Candidate(row) => (Some(row), idle()),
                    Kept::ThereAlready => (None, idle()),
                    Kept::Replaced => (None, Process::Spilling(request.clone(), *brings)),
                };
                let spilling = Process::Spilling(request.clone(), *brings);
                self.write((n, answer.attempt, "its answer is kept"), kept, idle(), done, spilling);
            }
            Process::Spilling(request, brings) => {
                let mut world = from.with(n, Process::Idle);
                let late = matches!(row.attempt, Some(Attempt { stage: Stage::Orphaned { .. }, .. }));
                let answer = request.answer(*brings);
                world.queue.push(Message { connected: request.held.connected, answer, late });
                world.queue.sort_unstable();
                self.expected(answer.attempt, "its answer is spilled", world);
            }
            Process::Ending { request, unanswered } => {
                let fruitless = if *unanswered { Fruitless::Unanswered } else { Fruitless::Untouched };
                let ended = row.end(&request.held, fruitless, request.spends, request.doubtful);
                let step = (n, request.held.fence, "it writes down that it brought nothing");
                self.write(step, ended, idle(), idle(), idle());
            }
            Process::Dying { held, lost_answer } => {
                let reason = if *lost_answer { Reason::LostAnswer } else { Reason::RefreshRejected };
                let what = if *lost_answer { "it ends the token: lost answer" } else { "it ends the token: rejected" };
                self.write((n, held.fence, what), row.die(held, reason), idle(), idle(), idle());
            }
            Process::SigningIn(held) => {
                let mut network = from.network.clone();
                let brings = network.sign_in();
                let Some(row) = row.sign_in(held, brings) else {
                    let again = from.with(n, Process::SigningIn(Rc::clone(row)));
                    return self.expected(held.fence, "the sign-in looks at the token again", again);
                };
                let mut world = from.with(n, Process::Idle);
                world.network = network;
                world.write(row);
                return self.expected(held.fence, "the sign-in is stored", world);
            }
        }
        let mut world = from.with(n, Process::Idle);
        world.past.doubt |= process.owns(row);
        let fence = process.held().map_or(0, |held| held.fence);
        match process {
            Process::Placing(_, brings) | Process::Keeping(_, brings) | Process::Spilling(_, brings) => {
                world.vanished(*brings);
                self.mishap(fence, "it crashes with the answer", Mishap::CrashWithGrant, world);
            }
            _ => self.mishap(fence, "it crashes", Mishap::Crash, world),
        }
    }

    /// A request on its way.
    fn of_request(&mut self, n: usize, request: &Request) {
        let (from, fence) = (self.from, request.held.fence);
        let mut network = from.network.clone();
        let (what, process) = match network.ask(request.spends) {
            Some(brings) => ("the network renews the grant", Process::Placing(request.clone(), brings)),
            None => ("the network refuses the refresh token", Process::Denied(request.clone())),
        };
        self.expected(fence, what, World { network, ..from.with(n, process) });

        let ending = |unanswered| from.with(n, Process::Ending { request: request.clone(), unanswered });
        self.mishap(fence, "the network does nothing", Mishap::Untouched, ending(false));
        let gone = |mut world: World| {
            world.past.doubt = true;
            world
        };
        self.mishap(fence, "it crashes before it asks", Mishap::Crash, gone(from.with(n, Process::Idle)));
        self.mishap(fence, "its request is lost", Mishap::GivenUp, gone(ending(true)));
        let wandering = |mut world: World| {
            world.network.wandering.push(request.spends);
            gone(world)
        };
        self.mishap(fence, "it gives up, its request wanders", Mishap::GivenUp, wandering(ending(true)));
        let crashed = wandering(from.with(n, Process::Idle));
        self.mishap(fence, "it crashes, its request wanders", Mishap::CrashWithGrant, crashed);
    }

    /// The network refused what was sent: the row is read again.
    fn of_denied(&mut self, n: usize, request: &Request) {
        let (from, row) = (self.from, &self.from.row);
        let held = || Rc::clone(row);
        let mine = (row.fence, row.generation) == (request.held.fence, request.held.generation);
        let (what, process) = match mine.then(|| row.refused(request.spends, request.doubtful)) {
            None => ("it finds that another was faster", Process::Idle),
            Some(Refused::Adopt(candidate)) => {
                let candidate = u8::try_from(candidate).unwrap();
                ("it finds the late answer", Process::Adopting(held(), candidate))
            }
            Some(Refused::Try(candidate)) => {
                let candidate = u8::try_from(candidate).unwrap();
                let (spends, tried) = (row.candidate(candidate).brings, Some(candidate));
                ("it tries a candidate", Process::Beginning { held: held(), spends, doubtful: false, tried })
            }
            Some(Refused::Dead(reason)) => {
                let lost_answer = reason == Reason::LostAnswer;
                ("it finds nothing else to try", Process::Dying { held: held(), lost_answer })
            }
        };
        let fence = request.held.fence;
        self.expected(fence, what, from.with(n, process));
        let mut failed = from.with(n, Process::Idle);
        failed.past.doubt = true;
        self.mishap(fence, "it cannot read the row again", Mishap::Table, failed);
        self.lose_reply(n, request, None);
    }

    /// The network's reply does not arrive.
    fn lose_reply(&mut self, n: usize, request: &Request, brings: Option<u8>) {
        let mut world = self.from.with(n, Process::Ending { request: request.clone(), unanswered: true });
        world.past.doubt = true;
        if let Some(brings) = brings {
            world.vanished(brings);
        }
        self.mishap(request.held.fence, "the answer is lost", Mishap::AnswerLost, world);
    }

    fn of_reader(&mut self) {
        let (from, row) = (self.from, &self.from.row);
        let Some(Reading { held, answer, keeping }) = &from.reader else {
            for message in &from.queue {
                let (mut world, answer) = (from.clone(), message.answer);
                let (what, reader) = if message.connected == row.connected {
                    ("the reader takes its answer", Some(Reading { held: Rc::clone(row), answer, keeping: false }))
                } else {
                    world.delivered(answer);
                    ("the reader leaves its answer to be revoked", None)
                };
                self.expected(answer.attempt, what, World { reader, ..world });
            }
            return;
        };
        let delivered = |row: Option<Row>| {
            let mut world = from.clone();
            world.delivered(*answer);
            if let Some(row) = row {
                world.write(row);
            }
            world
        };
        let (what, written) = if *keeping {
            match row.keep(held, *answer) {
                Kept::Candidate(row) => ("the reader keeps its answer", Some(row)),
                Kept::ThereAlready => ("the reader finds its answer in the row", None),
                Kept::Replaced => ("the reader leaves its answer to be revoked", None),
            }
        } else {
            match row.commit(held, *answer) {
                Some(row) => ("the reader commits its answer", Some(row)),
                None if row.generation == answer.attempt => ("the reader finds its answer in the row", None),
                None => {
                    let mut world = from.clone();
                    world.reader = Some(Reading { held: Rc::clone(held), answer: *answer, keeping: true });
                    return self.expected(answer.attempt, "the reader finds its answer late", world);
                }
            }
        };
        self.expected(answer.attempt, what, delivered(written.clone()));
        let stays = |mut world: World| {
            (world.queue, world.reader) = (from.queue.clone(), None);
            world
        };
        self.mishap(answer.attempt, "the reader fails", Mishap::Table, stays(from.clone()));
        if written.is_some() {
            let twice = stays(delivered(written));
            self.mishap(answer.attempt, "the reader stores its answer and fails", Mishap::Table, twice);
        }
    }

    /// Somebody needs an access token and reads the row.
    fn of_newcomer(&mut self) {
        let (from, row) = (self.from, &self.from.row);
        let held = Rc::clone(row);
        let (what, process) = match row.next() {
            None | Some(Next::Wait(_) | Next::Later(_)) => return,
            Some(Next::Orphan) => ("somebody finds the attempt abandoned", Process::Orphaning(held)),
            Some(Next::Adopt(candidate)) => {
                ("somebody finds the late answer", Process::Adopting(held, u8::try_from(candidate).unwrap()))
            }
            Some(Next::Ask { doubtful }) => {
                let what = if doubtful { "somebody wants to ask once more" } else { "somebody wants to ask" };
                (what, Process::Beginning { spends: held.present, held, doubtful, tried: None })
            }
        };
        self.expected(row.fence, what, from.with(0, process));
    }

    fn of_time(&mut self) {
        let (from, row) = (self.from, &self.from.row);
        let with = |change: &dyn Fn(&mut Row)| {
            let mut row = Row::clone(row);
            change(&mut row);
            World { row: Rc::new(row), ..from.clone() }
        };
        let stage = |stage| with(&|row| row.attempt = row.attempt.map(|attempt| Attempt { stage, ..attempt }));
        match row.attempt.map(|attempt| attempt.stage) {
            Some(Stage::Running { over: false }) => {
                let mut world = stage(Stage::Running { over: true });
                match world.processes.iter_mut().find(|process| process.owns(row)) {
                    None => self.expected(row.fence, "its lease ends", world),
                    Some(holder) => {
                        holder.oversleep();
                        (world.past.doubt, world.past.gap) = (true, true);
                        self.mishap(row.fence, "it sleeps past its lease", Mishap::Nap, world);
                    }
                }
            }
            Some(Stage::Orphaned { quiet: false }) => {
                let mut world = stage(Stage::Orphaned { quiet: true });
                if from.queue.iter().all(|message| message.late) {
                    self.expected(row.fence, "the quiet time passes", world);
                } else {
                    (world.past.doubt, world.past.gap) = (true, true);
                    self.mishap(row.fence, "the queue is late", Mishap::LateDelivery, world);
                }
            }
            _ => {}
        }
        if row.resting {
            self.expected(row.fence, "the wait is over", with(&|row| row.resting = false));
        }
        match row.access {
            Access::Fresh => {
                let aged = with(&|row| row.access = Access::Ending);
                self.mishap(row.fence, "the access token grows old", Mishap::Age, aged);
            }
            Access::Ending => {
                self.expected(row.fence, "the access token ends", with(&|row| row.access = Access::Over));
            }
            Access::Over => {}
        }
    }

    fn of_people(&mut self) {
        let (from, fence) = (self.from, self.from.row.fence);
        for (n, token) in from.network.wandering.iter().enumerate() {
            let mut world = from.clone();
            world.network.wandering.remove(n);
            let brings = world.network.ask(*token);
            world.past.gap = true;
            if let Some(brings) = brings {
                world.vanished(brings);
            }
            self.add(fence, "a request that wandered arrives", false, world);
        }
        let mut world = from.clone();
        if world.network.revoke() {
            self.mishap(fence, "the person takes the permission back", Mishap::Revoked, world);
        }
        if from.processes[0] == Process::Idle {
            let signing_in = from.with(0, Process::SigningIn(Rc::clone(&from.row)));
            self.mishap(fence, "the person signs in again", Mishap::SignIn, signing_in);
        }
    }
}
