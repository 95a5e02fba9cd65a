//! Refreshing, searched state by state: three processes, the spill queue, time and a network, in every order.
//!
//! The decisions are those of the product, `shared::renewal`; what is modelled is the I/O around them. A search goes
//! through every state that can be reached with so many mishaps, and holds each against what must be true of it
//! (`judge`). From each state it then goes on as if nothing went wrong any more, which must end with an access token
//! or with the truth. What is wrong is told as the shortest way to it.
#![cfg(test)]

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use self::{
    network::{Family, Network, Policy},
    row::{Access, Life},
    steps::Step,
    world::{Mishap, Process, World},
};

mod network;
mod row;
mod steps;
mod world;

const EVERY_NETWORK: [Policy; 4] = [Policy::EndsTheFamily, Policy::Refuses, Policy::KeepsTheOld, Policy::NeverRotates];

/// What must hold whenever `step` was taken.
fn judge(before: &World, step: &Step) -> Result<(), &'static str> {
    let (row, world) = (&step.then.row, &step.then);
    let rules = [
        ("the fence went back", row.fence >= before.row.fence),
        ("the generation went back", row.generation >= before.row.generation),
        ("the generation is beyond the fence", row.generation <= row.fence),
        ("two grants have one generation", numbers_are_unique(world)),
        ("an attempt spends another refresh token", row.attempt.is_none_or(|attempt| attempt.spends == row.present)),
        ("two requests are under way", one_request_at_a_time(world)),
        ("a grant of an earlier sign-in is in the row", is_of_newest_sign_in(world)),
        ("a living refresh token is lost", world.past.lost || is_within_reach(world)),
        ("the family was ended though no answer was lost", world.past.gap || world.network.family() != Family::Reused),
        ("a grant answers another than the present refresh token", is_answer_to_present(before, step)),
        ("a doubtful request is sent though there is a good access token", doubts_wait(world)),
        ("a death overlooks a late answer", row.life == before.row.life || row.candidates.is_empty()),
        ("a death is not true", row.life == before.row.life || is_true(world)),
    ];
    rules.into_iter().find(|(_, holds)| !holds).map_or(Ok(()), |(rule, _)| Err(rule))
}

fn numbers_are_unique(world: &World) -> bool {
    let row = &world.row;
    let candidates = row.candidates.iter().copied();
    let queued = world.queue.iter().filter(|message| message.connected == row.connected).map(|message| message.answer);
    let mut grants: Vec<_> = candidates.chain(queued).map(|answer| (answer.attempt, answer.brings)).collect();
    grants.push((row.generation, row.present));
    grants.sort_unstable();
    grants.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1)
}

/// Whoever asks is the only one, those apart that slept past the end of their lease.
fn one_request_at_a_time(world: &World) -> bool {
    let spilling = |process: &&Process| matches!(process, Process::Spilling(..));
    let requests = world.processes.iter().filter(|process| !spilling(process)).filter_map(Process::request);
    requests.filter(|request| request.held.connected == world.row.connected && !request.overdue).count() < 2
}

fn is_answer_to_present(before: &World, step: &Step) -> bool {
    let (row, before) = (&step.then.row, &before.row);
    // a sign-in answers nothing, and a candidate is tried when the present one was refused
    let may_answer_another = row.connected != before.connected || row.attempt.is_some();
    row.generation == before.generation || may_answer_another || row.answers == before.present
}

/// Whoever sends a refresh token once more that may have been spent has nothing better.
fn doubts_wait(world: &World) -> bool {
    let mut doubtful = world.processes.iter().filter_map(Process::request).filter(|request| request.doubtful);
    doubtful.all(|request| request.held.access == Access::Over || request.held.life != Life::Living)
}

fn is_of_newest_sign_in(world: &World) -> bool {
    let candidates = world.row.candidates.iter().map(|answer| answer.brings);
    candidates.chain([world.row.present]).all(|token| world.network.is_of_newest(token))
}

/// Whether nothing that the network takes is lost: one is in the row, in the queue or in somebody's hands, or there is none.
fn is_within_reach(world: &World) -> bool {
    let mut honoured = world.network.honoured().peekable();
    honoured.peek().is_none() || honoured.any(|token| world.holds(token))
}

/// Whether the network takes nothing any more that can be found, and the reason is the right one.
fn is_true(world: &World) -> bool {
    match world.row.life {
        Life::Living => true,
        Life::LostAnswer => world.past.doubt,
        Life::Rejected => {
            let reachable = world.network.honoured().any(|token| world.holds(token));
            !reachable && (world.network.family() == Family::Revoked || (world.past.gap && !world.past.lost))
        }
    }
}

/// Whether all is well where nothing happens any more: a good access token, or the truth.
fn is_well(world: &World) -> bool {
    let row = &world.row;
    match row.life {
        Life::Living => row.access == Access::Fresh,
        Life::Rejected | Life::LostAnswer => !world.network.honoured().any(|token| world.holds(token)),
    }
}

/// What a search has seen.
struct Search {
    first: World,
    numbers: HashMap<u64, u32, BuildHasherDefault<DefaultHasher>>,
    /// By state: the one before it, and the number of the step that leads here.
    ways: Vec<(u32, u16)>,
    /// By state: the one that follows where nothing goes wrong, or itself where all is at rest.
    follows: Vec<u32>,
    /// Everything that happened somewhere.
    happened: BTreeSet<&'static str>,
}

impl Search {
    /// Goes through everything that can happen at a network with so many mishaps.
    ///
    /// # Panics
    /// When something is wrong; tells the way to it.
    fn through(policy: Policy, mishaps: &[Mishap]) -> Self {
        let first = World::new(Network::new(policy), mishaps);
        let mut search = Self {
            first: first.clone(),
            numbers: HashMap::default(),
            ways: Vec::new(),
            follows: Vec::new(),
            happened: BTreeSet::new(),
        };
        search.number(&first, (0, 0));
        let mut waiting = VecDeque::from([first]);
        for here in 0.. {
            let Some(world) = waiting.pop_front() else { break };
            let mut follows = here;
            for (n, step) in (0..).zip(world.steps()) {
                search.happened.insert(step.what);
                if let Err(wrong) = judge(&world, &step) {
                    search.fail(wrong, here, Some(n));
                }
                let (there, is_new) = search.number(&step.then, (here, n));
                if step.expected && follows == here {
                    follows = there;
                }
                if is_new {
                    waiting.push_back(step.then);
                }
            }
            if follows == here && !(world.is_at_rest() && is_well(&world)) {
                search.fail("nothing follows, and all is not well", here, None);
            }
            search.follows.push(follows);
        }
        search.comes_to_rest();
        search
    }

    fn number(&mut self, world: &World, way: (u32, u16)) -> (u32, bool) {
        let next = u32::try_from(self.ways.len()).unwrap();
        let number = *self.numbers.entry(self.numbers.hasher().hash_one(world)).or_insert(next);
        if number == next {
            self.ways.push(way);
        }
        (number, number == next)
    }

    /// Where nothing goes wrong any more, everything comes to rest: nobody goes round in circles.
    fn comes_to_rest(&self) {
        let mut rests = vec![false; self.follows.len()];
        for start in 0..self.follows.len() {
            let mut way = vec![start];
            while let Some(&here) = way.last().filter(|here| !rests[**here]) {
                let next = self.follows[here] as usize;
                if next == here {
                    break;
                }
                if way.len() > 1000 {
                    self.fail("it goes round in circles", u32::try_from(start).unwrap(), None);
                }
                way.push(next);
            }
            for here in way {
                rests[here] = true;
            }
        }
    }

    /// Tells the shortest way to what is wrong.
    fn fail(&self, wrong: &str, mut here: u32, last: Option<u16>) -> ! {
        let mut way: Vec<u16> = last.into_iter().collect();
        while here != 0 {
            let (before, step) = self.ways[here as usize];
            way.push(step);
            here = before;
        }
        let mut told = vec![format!("{wrong}:")];
        let mut world = self.first.clone();
        for number in way.into_iter().rev() {
            let step = world.steps().swap_remove(usize::from(number));
            told.push(format!("- attempt {}: {}", step.who, step.what));
            if step.then.row != world.row {
                told.push(format!("      {:?}", step.then.row));
            }
            world = step.then;
        }
        let World { network, past, queue, processes, .. } = world;
        panic!("{}\nwhich leaves {network:?}, {past:?}, in the queue {queue:?} and {processes:#?}", told.join("\n"));
    }
}

const LOST_ANSWER: &str = "it ends the token: lost answer";
const REJECTED: &str = "it ends the token: rejected";

// S43, S45, S50
#[test]
fn whatever_goes_wrong_once_a_token_ends_only_when_its_answer_vanished_or_a_person_ended_it() {
    use Mishap::{Age, AnswerLost, CrashWithGrant, GivenUp, Nap, Revoked};
    for network in EVERY_NETWORK {
        let rotates = matches!(network, Policy::EndsTheFamily | Policy::Refuses);
        for mishap in Mishap::ALL {
            let happened = Search::through(network, &[mishap, Age]).happened;
            let vanishes = matches!(mishap, AnswerLost | CrashWithGrant | GivenUp | Nap);
            assert_eq!(happened.contains(LOST_ANSWER), rotates && vanishes, "{mishap:?} at {network:?}");
            // what arrives after another request was answered ends everything, and nobody can tell
            let arrives_late = network == Policy::EndsTheFamily && matches!(mishap, CrashWithGrant | GivenUp | Nap);
            assert_eq!(happened.contains(REJECTED), mishap == Revoked || arrives_late, "{mishap:?} at {network:?}");
        }
    }
}

// S44, S46, S51
#[test]
fn whoever_slept_past_the_lease_looks_first_and_an_answer_that_came_too_late_is_found() {
    for network in [Policy::EndsTheFamily, Policy::Refuses] {
        let happened = Search::through(network, &[Mishap::Nap]).happened;
        for what in ["it finds that another was faster", "it finds that it was second", "its answer is kept"] {
            assert!(happened.contains(what), "{what} at {network:?}");
        }
        for what in ["it finds the late answer", "somebody finds the late answer", "its late answer is adopted"] {
            assert!(happened.contains(what), "{what} at {network:?}");
        }
    }
}

// S49, S50
#[test]
#[ignore = "seconds of searching: run by tests/run"]
fn whatever_two_things_go_wrong_at_x_every_state_is_true_and_comes_to_rest() {
    every_two_mishaps(Policy::EndsTheFamily, &[]);
}

// S49, S50
#[test]
#[ignore = "two and a half million states, a minute: run by tests/run"]
fn whatever_two_things_go_wrong_anywhere_every_state_is_true_and_comes_to_rest() {
    let happened: BTreeSet<_> = std::thread::scope(|scope| {
        let searches = EVERY_NETWORK.map(|network| scope.spawn(move || every_two_mishaps(network, &[Mishap::Age])));
        searches.into_iter().flat_map(|search| search.join().unwrap()).collect()
    });
    for what in ["it tries a candidate", "the queue is late", "the reader keeps its answer"] {
        assert!(happened.contains(what), "{what}");
    }
}

fn every_two_mishaps(network: Policy, besides: &[Mishap]) -> BTreeSet<&'static str> {
    let pairs = (0..).zip(Mishap::ALL).flat_map(|(n, one)| Mishap::ALL[n..].iter().map(move |other| [one, *other]));
    pairs.flat_map(|pair| Search::through(network, &[&pair, besides].concat()).happened).collect()
}
