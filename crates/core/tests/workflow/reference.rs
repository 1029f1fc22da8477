//! The reference: it carries a program out in one go, with a clock that jumps. It knows no journal, no replay and no kill.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use backroom_core::workflow::{Header, chance};

use crate::{
    WORKFLOW, common,
    program::{Code, Got, Host, Node, Op, Outcome, Shared, Trace, code, value_of},
};

#[derive(Default)]
struct World {
    now: i64,
    scopes: Vec<String>,
    uses: HashMap<(usize, String), u32>,
    asks: Vec<Asked>,
    signals: Vec<(i64, u32, u64)>,
    /// Compensated steps in the order in which they were done.
    done: Vec<String>,
}

struct Asked {
    key: String,
    op: Op,
    /// When it was asked for.
    since: i64,
    tries: u32,
    due: i64,
    won: Option<usize>,
    answer: Option<Got>,
    is_over: bool,
}

struct Reference(RefCell<World>);

impl World {
    fn key(&mut self, scope: usize, name: &str) -> String {
        let count = self.uses.entry((scope, name.to_owned())).or_default();
        *count += 1;
        let path = &self.scopes[scope];
        if *count == 1 { format!("{path}{name}") } else { format!("{path}{name}#{count}") }
    }

    /// Answers the first ask that needs no time.
    fn at_once(&mut self) -> bool {
        for asked in &mut self.asks {
            if asked.is_over || asked.answer.is_some() {
                continue;
            }
            match &asked.op {
                Op::Step { .. } if asked.tries == 0 => {
                    if attempt(asked, self.now, &mut self.done) {
                        return true;
                    }
                }
                Op::Race { .. } if asked.won.is_some() => asked.answer = asked.won.map(Got::Won),
                Op::Now => asked.answer = Some(Got::Value(u64::try_from(self.now).unwrap())),
                Op::Patch => asked.answer = Some(Got::Done),
                Op::Step { .. } | Op::Race { .. } | Op::Sleep(_) | Op::Wait { .. } | Op::Child { .. } => {}
            }
            if asked.answer.is_some() {
                return true;
            }
        }
        false
    }

    /// Lets the clock jump to what happens first. `false` if nothing ever does.
    fn jump(&mut self) -> bool {
        let mut first: Option<(i64, usize, Option<Got>, Option<usize>)> = None;
        let mut waits = [0usize; 3];
        for (place, asked) in self.asks.iter().enumerate() {
            if asked.is_over || asked.answer.is_some() {
                continue;
            }
            let secs = |secs: u64| asked.since + i64::try_from(secs).unwrap();
            let found = match &asked.op {
                Op::Step { .. } => Some((asked.due, None, None)),
                Op::Sleep(span) => Some((secs(*span), Some(Got::Done), None)),
                Op::Child { secs: span } => Some((secs(*span), Some(Got::Value(value_of(&asked.key))), None)),
                Op::Wait { signal, within } => {
                    let before = waits[*signal as usize];
                    waits[*signal as usize] += 1;
                    let of_name = self.signals.iter().enumerate().filter(|(_, sent)| sent.1 == *signal);
                    let sent = of_name.into_iter().nth(before);
                    let until = within.map(secs);
                    match sent {
                        Some((index, (at, _, value))) if until.is_none_or(|until| *at <= until) => {
                            Some((*at, Some(Got::Value(*value)), Some(index)))
                        }
                        _ => until.map(|until| (until, Some(Got::TimedOut), None)),
                    }
                }
                Op::Now | Op::Patch | Op::Race { .. } => None,
            };
            if let Some((at, got, taken)) = found
                && first.as_ref().is_none_or(|first| at.max(self.now) < first.0)
            {
                first = Some((at.max(self.now), place, got, taken));
            }
        }
        let Some((at, place, got, taken)) = first else { return false };
        self.now = at;
        if let Some(index) = taken {
            self.signals.remove(index);
        }
        match got {
            Some(got) => self.asks[place].answer = Some(got),
            None => _ = attempt(&mut self.asks[place], at, &mut self.done),
        }
        true
    }
}

/// Tries a step. Whether it has an answer.
fn attempt(asked: &mut Asked, now: i64, done: &mut Vec<String>) -> bool {
    let Op::Step { fails, max_tries, is_compensated } = asked.op else { return false };
    asked.tries += 1;
    if asked.tries > fails {
        asked.answer = Some(Got::Value(value_of(&asked.key)));
        if is_compensated {
            done.push(asked.key.clone());
        }
    } else if asked.tries >= max_tries {
        asked.answer = Some(Got::Failed);
    }
    asked.due = now + 7;
    asked.answer.is_some()
}

impl Host for Reference {
    fn open(&self, parent: usize, name: &str) -> usize {
        let mut world = self.0.borrow_mut();
        let path = world.key(parent, &format!("{name}\u{0}")).replace('\u{0}', "");
        world.scopes.push(format!("{path}/"));
        world.scopes.len() - 1
    }

    fn close(&self, _: usize) {}

    fn ask(&self, scope: usize, name: &str, op: Op) -> usize {
        let mut world = self.0.borrow_mut();
        let (key, since) = (world.key(scope, name), world.now);
        world.asks.push(Asked { key, op, since, tries: 0, due: 0, won: None, answer: None, is_over: false });
        world.asks.len() - 1
    }

    fn answer(&self, ticket: usize) -> Option<Got> {
        let asked = &mut self.0.borrow_mut().asks[ticket];
        asked.is_over |= asked.answer.is_some();
        asked.answer.clone()
    }

    fn forget(&self, ticket: usize) {
        self.0.borrow_mut().asks[ticket].is_over = true;
    }

    fn won(&self, ticket: usize, branch: usize) {
        self.0.borrow_mut().asks[ticket].won = Some(branch);
    }

    fn random(&self, scope: usize, name: &str) -> u64 {
        let key = self.0.borrow_mut().key(scope, name);
        chance::random(WORKFLOW, &Header::begin(None, common::now()), &key)
    }

    fn now(&self) -> i64 {
        self.0.borrow().now
    }
}

pub(crate) fn interpret(program: &[Node], signals: &[(i64, u32, u64)]) -> Outcome {
    let world = World { scopes: vec![String::new()], signals: signals.to_vec(), ..World::default() };
    let host = Rc::new(Reference(RefCell::new(world)));
    let trace = Trace::default();
    let mut code: Code = code(Rc::clone(&host) as Shared, 0, program.to_vec(), Rc::clone(&trace), 0);
    let end = loop {
        if let Poll::Ready(end) = code.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break Some(end);
        }
        let mut world = host.0.borrow_mut();
        if !world.at_once() && !world.jump() {
            break None;
        }
    };
    let undone = match &end {
        Some(Err(_)) => host.0.borrow().done.iter().rev().cloned().collect(),
        Some(Ok(_)) | None => Vec::new(),
    };
    let trace = trace.borrow().clone();
    Outcome { trace, end, undone }
}
