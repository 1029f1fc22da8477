//! The executor over a journal: a disk that holds what was written, and processes that die before or after any write.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use backroom_core::{
    JobId, RetryPolicy, Timestamp,
    links::{ChildEnd, ChildPolicy},
    workflow::{
        Answer, Arrival, Arrived, Ask, Attempted, Cause, Derived, Entry, EntryState, Header, Journal, Next,
        Phase, Run, ScopeId, Ticket, Undo, Write, chance,
    },
};

use crate::{
    WORKFLOW,
    common::{at, json, now, secs},
    program::{Code, Dice, Got, Host, Node, Op, Outcome, Shared, Trace, code, value_of},
};

/// What survives a kill.
struct Disk {
    header: Header,
    entries: BTreeMap<String, Entry>,
    /// All that ever arrives, with what is taken.
    arrivals: Vec<Arrival>,
    taken: BTreeSet<u64>,
    children: BTreeMap<JobId, String>,
    /// Compensated steps in the order in which they were recorded, and those that were undone.
    done: Vec<String>,
    undone: Vec<String>,
    /// A client cancels the workflow after so many writes.
    cancel_after: Option<u32>,
    real: Timestamp,
    dice: Dice,
    kills_left: u32,
    kills: u32,
}

impl Disk {
    fn visible(&self) -> Vec<Arrival> {
        let is_there = |arrival: &&Arrival| arrival.at <= self.real && !self.taken.contains(&arrival.n);
        self.arrivals.iter().filter(is_there).cloned().collect()
    }

    /// A process dies in one of four places; none runs for a while.
    fn is_killed(&mut self) -> bool {
        if self.kills_left == 0 || self.dice.below(4) > 0 {
            return false;
        }
        self.kills_left -= 1;
        self.kills += 1;
        self.pass(50);
        true
    }

    fn pass(&mut self, most: u64) {
        let micros = i64::try_from(self.dice.below(most * 1_000_000)).unwrap();
        self.real = Timestamp::from_microsecond(self.real.as_microsecond() + micros).unwrap();
    }

    /// One transaction. `child_secs` knows how long the child of a key takes.
    fn write(&mut self, writes: &[Write], time: Timestamp, child_secs: impl Fn(&str) -> u64) {
        self.cancel_after = self.cancel_after.map(|left| left.saturating_sub(1));
        for write in writes {
            match write {
                Write::Entry(entry) => {
                    let before = self.entries.insert(entry.key.clone(), entry.clone());
                    if entry.seq().is_some() && before.as_ref().is_none_or(|before| before.seq().is_none()) {
                        self.header.progress += 1;
                    }
                    if let Some(before) = before {
                        let is_fixed = matches!(before.state, EntryState::Closed { .. } | EntryState::Lost);
                        assert!(!is_fixed || before.state == entry.state, "an answer never changes");
                        let is_undone = matches!(before.undo, Some(Undo::Done { .. }));
                        assert!(!is_undone, "a step is undone once");
                    }
                    if entry.undo == Some(Undo::Due) {
                        self.done.push(entry.key.clone());
                    }
                    if matches!(entry.undo, Some(Undo::Done { .. })) {
                        self.undone.push(entry.key.clone());
                    }
                }
                Write::Take { n } => assert!(self.taken.insert(*n), "an arrival is taken once"),
                Write::StartChild { key, job, .. } => {
                    if self.children.insert(*job, key.clone()).is_none() {
                        let n = 1000 + self.children.len() as u64;
                        let ends = i64::try_from(child_secs(key)).unwrap() * 1_000_000;
                        let ends = Timestamp::from_microsecond(time.as_microsecond() + ends).unwrap();
                        let end = ChildEnd::Completed { output: json(&value_of(key).to_string()) };
                        let what = Arrived::Child { key: key.clone(), job: *job, end };
                        self.arrivals.push(Arrival { n, at: ends, what });
                    }
                }
                Write::Phase(phase) => self.header.phase = phase.clone(),
                Write::Publish(value) => self.header.published = Some(value.clone()),
                Write::CancelChild { .. } => {}
                Write::Failed(keys) => self.header.failed.clone_from(keys),
                Write::NextGeneration | Write::Resume { .. } => panic!("no program asks for it"),
            }
        }
    }
}

struct Journaled {
    run: RefCell<Run>,
    /// By key: how often a step fails, how long a child takes.
    steps: RefCell<BTreeMap<String, u32>>,
    children: RefCell<BTreeMap<String, u64>>,
    scopes: RefCell<Vec<ScopeId>>,
    tickets: RefCell<Vec<Ticket>>,
}

impl Host for Journaled {
    fn open(&self, parent: usize, name: &str) -> usize {
        let mut scopes = self.scopes.borrow_mut();
        let scope = self.run.borrow_mut().open_scope(scopes[parent], name).unwrap();
        scopes.push(scope);
        scopes.len() - 1
    }

    fn close(&self, scope: usize) {
        self.run.borrow_mut().close_scope(self.scopes.borrow()[scope]);
    }

    fn ask(&self, scope: usize, name: &str, op: Op) -> usize {
        let mut run = self.run.borrow_mut();
        let scopes = self.scopes.borrow();
        let ask = match &op {
            Op::Step { max_tries, is_compensated, .. } => Ask::Step {
                retry: RetryPolicy::constant(secs(7)).jitter(0),
                max_tries: *max_tries,
                is_compensated: *is_compensated,
            },
            Op::Sleep(span) => Ask::Sleep(secs(*span)),
            Op::Wait { signal, within } => {
                Ask::Signal { name: format!("signal {signal}"), within: within.map(secs) }
            }
            Op::Child { .. } => Ask::Child { policy: ChildPolicy::Cancel },
            Op::Now => Ask::Now,
            Op::Patch => Ask::Patch,
            Op::Race { branches } => Ask::Race {
                branches: branches.iter().map(|scope| run.path(scopes[*scope]).to_owned()).collect(),
            },
        };
        let ticket = run.ask(scopes[scope], name, ask).unwrap();
        let key = run.key(ticket).to_owned();
        match op {
            Op::Step { fails, .. } => _ = self.steps.borrow_mut().insert(key, fails),
            Op::Child { secs } => _ = self.children.borrow_mut().insert(key, secs),
            Op::Sleep(_) | Op::Wait { .. } | Op::Now | Op::Patch | Op::Race { .. } => {}
        }
        self.tickets.borrow_mut().push(ticket);
        self.tickets.borrow().len() - 1
    }

    fn answer(&self, ticket: usize) -> Option<Got> {
        let answer = self.run.borrow_mut().answer(self.tickets.borrow()[ticket])?;
        let number = |value: &backroom_core::Json| Got::Value(value.decode().unwrap());
        Some(match answer {
            Answer::Value { value } | Answer::Signal { value } => number(&value),
            Answer::Child { end: ChildEnd::Completed { output } } => number(&output),
            Answer::Child { end } => panic!("no child fails: {end:?}"),
            Answer::Failed { .. } => Got::Failed,
            Answer::Fired | Answer::Patched { is_new: true } => Got::Done,
            Answer::Patched { is_new: false } => panic!("no version is older"),
            Answer::TimedOut => Got::TimedOut,
            Answer::Won { branch } => Got::Won(branch as usize),
            Answer::Now { at } => Got::Value(u64::try_from(since_now(at)).unwrap()),
        })
    }

    fn forget(&self, ticket: usize) {
        self.run.borrow_mut().forget(self.tickets.borrow()[ticket]);
    }

    fn won(&self, ticket: usize, branch: usize) {
        self.run.borrow_mut().won(self.tickets.borrow()[ticket], u32::try_from(branch).unwrap());
    }

    fn random(&self, scope: usize, name: &str) -> u64 {
        let mut run = self.run.borrow_mut();
        let key = run.derived_key(self.scopes.borrow()[scope], Derived::Random, name).unwrap();
        chance::random(WORKFLOW, &run.journal().header, &key)
    }

    fn now(&self) -> i64 {
        since_now(self.run.borrow().now())
    }
}

fn since_now(at: Timestamp) -> i64 {
    at.as_second() - now().as_second()
}

/// What one process came to.
enum Left {
    Ended(Option<Result<u64, String>>),
    Died,
}

/// Carries a program out, over processes that are killed up to `kills` times. Answers with the number of kills that there were.
pub(crate) fn interpret(
    program: &[Node],
    signals: &[(i64, u32, u64)],
    seed: u64,
    kills: u32,
) -> (Outcome, u32) {
    let (outcome, disk) = carry_out(program, signals, seed, kills, None);
    (outcome, disk.kills)
}

/// The same with a cancel after some writes. Answers with the compensated steps that were done and those that were undone.
pub(crate) fn cancel(program: &[Node], seed: u64, cancel_after: u32) -> (Vec<String>, Vec<String>) {
    let (_, disk) = carry_out(program, &[], seed, 20, Some(cancel_after));
    let is_cancelled = matches!(disk.header.phase, Phase::Undoing { cause: Cause::Cancelled { .. } });
    if is_cancelled { (disk.done, disk.undone) } else { (Vec::new(), Vec::new()) }
}

fn carry_out(
    program: &[Node],
    signals: &[(i64, u32, u64)],
    seed: u64,
    kills: u32,
    cancel_after: Option<u32>,
) -> (Outcome, Disk) {
    let arrivals = signals.iter().enumerate().map(|(n, (secs, name, value))| Arrival {
        n: n as u64,
        at: at(*secs),
        what: Arrived::Signal { name: format!("signal {name}"), value: json(&value.to_string()) },
    });
    let mut disk = Disk {
        header: Header::begin(None, now()),
        entries: BTreeMap::new(),
        arrivals: arrivals.collect(),
        taken: BTreeSet::new(),
        children: BTreeMap::new(),
        done: Vec::new(),
        undone: Vec::new(),
        cancel_after,
        real: now(),
        dice: Dice(seed),
        kills_left: kills,
        kills: 0,
    };
    loop {
        let trace = Trace::default();
        if let Left::Ended(end) = process(&mut disk, program, &trace) {
            let trace = trace.borrow().clone();
            return (Outcome { trace, end, undone: disk.undone.clone() }, disk);
        }
    }
}

fn process(disk: &mut Disk, program: &[Node], trace: &Trace) -> Left {
    let journal = Journal::load(disk.header.clone(), disk.entries.values().cloned().collect()).unwrap();
    let host = Rc::new(Journaled {
        run: RefCell::new(Run::begin(WORKFLOW, journal, disk.visible())),
        steps: RefCell::default(),
        children: RefCell::default(),
        scopes: RefCell::new(vec![ScopeId::ROOT]),
        tickets: RefCell::default(),
    });
    let mut code: Option<Code> =
        Some(code(Rc::clone(&host) as Shared, 0, program.to_vec(), Rc::clone(trace), 0));
    let mut end = None;
    loop {
        let polled = code.as_mut().map(|code| code.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        let mut writes = None;
        if let Some(Poll::Ready(result)) = polled {
            code = None;
            match &result {
                // A cancel was recorded before the code came to its end.
                Ok(_) if host.run.borrow().is_undoing() => {}
                Ok(_) => {
                    if disk.is_killed() {
                        return Left::Died;
                    }
                    return Left::Ended(Some(result));
                }
                Err(error) => {
                    writes = Some(host.run.borrow().fail(Cause::Failed { error: error.clone() }));
                    end = Some(result);
                }
            }
        }
        if disk.cancel_after == Some(0) && disk.header.phase == Phase::Forward && writes.is_none() {
            writes = Some(host.run.borrow().fail(Cause::Cancelled { reason: "not wanted".into() }));
        }
        let time = host.run.borrow().now();
        let next = match writes {
            Some(writes) => Next::Write(writes),
            None => host.run.borrow_mut().next(disk.real),
        };
        let undo = |disk: &mut Disk, key: &str, try_number: u32| {
            let is_done = u64::from(try_number) > value_of(key) % 3;
            let attempted =
                if is_done { Attempted::Value(json("null")) } else { Attempted::Failed("again".into()) };
            host.run.borrow().undone(key, attempted, disk.real, 0.5)
        };
        let writes = match next {
            Next::Poll => continue,
            Next::Write(writes) => writes,
            Next::Execute { ticket, try_number } => {
                let key = host.run.borrow().key(ticket).to_owned();
                let fails = host.steps.borrow()[&key];
                let attempted = if try_number > fails {
                    Attempted::Value(json(&value_of(&key).to_string()))
                } else {
                    Attempted::Failed("again".into())
                };
                let time = host.run.borrow().now();
                host.run.borrow_mut().tried(ticket, attempted, time, 0.5)
            }
            Next::Undo { key, try_number } => undo(disk, &key, try_number),
            Next::Undone(_) => return Left::Ended(end),
            Next::Park { until } => {
                let coming = disk.arrivals.iter().map(|arrival| arrival.at).filter(|at| *at > disk.real);
                let Some(wake) = coming.chain(until).min() else { return Left::Ended(None) };
                disk.real = disk.real.max(wake);
                disk.pass(3);
                if disk.dice.below(2) == 0 {
                    // The future is dropped, and another process begins.
                    return Left::Died;
                }
                host.run.borrow_mut().arrived(disk.visible());
                continue;
            }
            Next::Await { .. } => panic!("steps take no time here"),
            Next::Blocked(blocked) => panic!("{blocked}"),
            Next::Full(full) => panic!("{full}"),
        };
        if disk.is_killed() {
            return Left::Died;
        }
        let child_secs = |key: &str| host.children.borrow()[key];
        disk.write(&writes, time, child_secs);
        if disk.is_killed() {
            return Left::Died;
        }
        host.run.borrow_mut().wrote(&writes);
        // The process is woken by what arrives, as the end of a child that took no time.
        host.run.borrow_mut().arrived(disk.visible());
    }
}
