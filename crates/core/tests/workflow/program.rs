//! Programs as trees, and an interpreter of async functions over anything that answers asks.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// One statement of a program. Names are unique by their number; a loop uses them again.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Step { id: u32, fails: u32, max_tries: u32, is_fatal: bool, is_compensated: bool },
    Sleep { id: u32, secs: u64 },
    Wait { id: u32, signal: u32, within: Option<u64> },
    Child { id: u32, secs: u64 },
    Now { id: u32 },
    Random { id: u32 },
    Patch { id: u32 },
    Join { id: u32, branches: Vec<Vec<Node>> },
    Race { id: u32, branches: Vec<Vec<Node>> },
    Loop { times: u32, body: Vec<Node> },
    IfEven { then: Vec<Node>, other: Vec<Node> },
}

/// What the host is asked for.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Step { fails: u32, max_tries: u32, is_compensated: bool },
    Sleep(u64),
    Wait { signal: u32, within: Option<u64> },
    Child { secs: u64 },
    Now,
    Patch,
    Race { branches: Vec<usize> },
}

/// What it answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    Value(u64),
    Failed,
    Done,
    TimedOut,
    Won(usize),
}

/// What carries out a program.
pub(crate) trait Host {
    fn open(&self, parent: usize, name: &str) -> usize;
    fn close(&self, scope: usize);
    fn ask(&self, scope: usize, name: &str, op: Op) -> usize;
    fn answer(&self, ticket: usize) -> Option<Got>;
    fn forget(&self, ticket: usize);
    fn won(&self, ticket: usize, branch: usize);
    fn random(&self, scope: usize, name: &str) -> u64;
    fn now(&self) -> i64;
}

pub(crate) type Shared = Rc<dyn Host>;
/// What the code did, in the order in which it came to it.
pub(crate) type Trace = Rc<RefCell<Vec<String>>>;
pub(crate) type Code = Pin<Box<dyn Future<Output = Result<u64, String>>>>;

struct Answer {
    host: Shared,
    ticket: usize,
    is_over: bool,
}

impl Future for Answer {
    type Output = Got;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Got> {
        match self.host.answer(self.ticket) {
            Some(got) => {
                self.is_over = true;
                Poll::Ready(got)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_over {
            self.host.forget(self.ticket);
        }
    }
}

fn ask(host: &Shared, scope: usize, name: &str, op: Op) -> Answer {
    Answer { host: Rc::clone(host), ticket: host.ask(scope, name, op), is_over: false }
}

/// Each branch with its code until it is over, and with its result from then on.
struct Join(Vec<(Option<Code>, Option<Ended>)>);

type Ended = Result<u64, String>;

impl Future for Join {
    type Output = Result<u64, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        for (code, result) in &mut self.0 {
            if let Some(Poll::Ready(ready)) = code.as_mut().map(|code| code.as_mut().poll(context)) {
                (*code, *result) = (None, Some(ready));
            }
        }
        if self.0.iter().any(|(_, result)| result.is_none()) {
            return Poll::Pending;
        }
        let mut sum = 0u64;
        for (_, result) in &self.0 {
            match result.as_ref().unwrap() {
                Ok(value) => sum = sum.wrapping_add(*value),
                Err(error) => return Poll::Ready(Err(error.clone())),
            }
        }
        Poll::Ready(Ok(sum))
    }
}

struct Race {
    host: Shared,
    answer: Answer,
    branches: Vec<Option<Code>>,
    first: Option<(usize, Result<u64, String>)>,
    winner: Option<usize>,
}

impl Future for Race {
    type Output = (usize, Result<u64, String>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.winner.is_none() {
            if let Poll::Ready(Got::Won(winner)) = Pin::new(&mut this.answer).poll(context) {
                this.winner = Some(winner);
                for (place, code) in this.branches.iter_mut().enumerate() {
                    if place != winner {
                        *code = None;
                    }
                }
            } else if this.first.is_none() {
                for (place, code) in this.branches.iter_mut().enumerate() {
                    if let Some(Poll::Ready(ready)) = code.as_mut().map(|code| code.as_mut().poll(context)) {
                        *code = None;
                        this.first = Some((place, ready));
                        this.host.won(this.answer.ticket, place);
                        break;
                    }
                }
            }
        }
        let Some(winner) = this.winner else { return Poll::Pending };
        if let Some(first) = this.first.take_if(|(place, _)| *place == winner) {
            return Poll::Ready(first);
        }
        let code = this.branches[winner].as_mut().expect("the winner is not over");
        code.as_mut().poll(context).map(|result| (winner, result))
    }
}

/// The code of a list of statements.
pub(crate) fn code(host: Shared, scope: usize, nodes: Vec<Node>, trace: Trace, last: u64) -> Code {
    Box::pin(async move {
        let mut last = last;
        for node in nodes {
            last = statement(&host, scope, node, &trace, last).await?;
        }
        Ok(last)
    })
}

async fn statement(host: &Shared, scope: usize, node: Node, trace: &Trace, last: u64) -> Result<u64, String> {
    let say = |text: String| trace.borrow_mut().push(format!("{} {text}", host.now()));
    match node {
        Node::Step { id, fails, max_tries, is_fatal, is_compensated } => {
            let op = Op::Step { fails, max_tries, is_compensated };
            let got = ask(host, scope, &format!("s{id}"), op).await;
            say(format!("s{id} {got:?}"));
            match got {
                Got::Value(value) => Ok(value),
                _ if is_fatal => Err(format!("s{id} failed")),
                _ => Ok(1),
            }
        }
        Node::Sleep { id, secs } => {
            ask(host, scope, &format!("t{id}"), Op::Sleep(secs)).await;
            say(format!("t{id}"));
            Ok(last)
        }
        Node::Wait { id, signal, within } => {
            let got = ask(host, scope, &format!("w{id}"), Op::Wait { signal, within }).await;
            say(format!("w{id} {got:?}"));
            Ok(if let Got::Value(value) = got { value } else { last })
        }
        Node::Child { id, secs } => {
            let got = ask(host, scope, &format!("c{id}"), Op::Child { secs }).await;
            say(format!("c{id} {got:?}"));
            Ok(if let Got::Value(value) = got { value } else { last })
        }
        Node::Now { id } => {
            let got = ask(host, scope, &format!("n{id}"), Op::Now).await;
            say(format!("n{id} {got:?}"));
            Ok(last)
        }
        Node::Random { id } => {
            let random = host.random(scope, &format!("x{id}"));
            say(format!("x{id} {random}"));
            Ok(random)
        }
        Node::Patch { id } => {
            let got = ask(host, scope, &format!("p{id}"), Op::Patch).await;
            say(format!("p{id} {got:?}"));
            Ok(last)
        }
        Node::Join { id, branches } => {
            let inner = host.open(scope, &format!("j{id}"));
            let branches = branches.into_iter().enumerate().map(|(place, nodes)| {
                let branch = host.open(inner, &place.to_string());
                (Some(code(Rc::clone(host), branch, nodes, Rc::clone(trace), last)), None)
            });
            let result = Join(branches.collect()).await;
            host.close(inner);
            say(format!("j{id}"));
            result
        }
        Node::Race { id, branches } => {
            let inner = host.open(scope, &format!("r{id}"));
            let scopes: Vec<_> =
                (0..branches.len()).map(|place| host.open(inner, &place.to_string())).collect();
            let answer = ask(host, scope, &format!("r{id}"), Op::Race { branches: scopes.clone() });
            let branches = scopes
                .into_iter()
                .zip(branches)
                .map(|(branch, nodes)| Some(code(Rc::clone(host), branch, nodes, Rc::clone(trace), last)));
            let branches = branches.collect();
            let (winner, result) =
                Race { host: Rc::clone(host), answer, branches, first: None, winner: None }.await;
            host.close(inner);
            say(format!("r{id} {winner}"));
            result
        }
        Node::Loop { times, body } => {
            let mut last = last;
            for _ in 0..times {
                last = code(Rc::clone(host), scope, body.clone(), Rc::clone(trace), last).await?;
            }
            Ok(last)
        }
        Node::IfEven { then, other } => {
            let chosen = if last.is_multiple_of(2) { then } else { other };
            code(Rc::clone(host), scope, chosen, Rc::clone(trace), last).await
        }
    }
}

/// A small generator of numbers, so that a seed repeats a program.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }
}

/// A random program.
pub(crate) fn random(dice: &mut Dice) -> Vec<Node> {
    let mut next_id = 0;
    nodes(dice, 3, &mut next_id)
}

fn nodes(dice: &mut Dice, depth: u32, next_id: &mut u32) -> Vec<Node> {
    (0..1 + dice.below(4)).map(|_| node(dice, depth, next_id)).collect()
}

fn node(dice: &mut Dice, depth: u32, next_id: &mut u32) -> Node {
    *next_id += 1;
    let id = *next_id;
    let few = |dice: &mut Dice| u32::try_from(dice.below(3)).unwrap();
    let kinds = if depth == 0 { 11 } else { 18 };
    match dice.below(kinds) {
        0..=3 => {
            let (fails, max_tries) = (few(dice), 1 + few(dice));
            let (is_fatal, is_compensated) = (dice.below(3) == 0, dice.below(2) == 0);
            Node::Step { id, fails, max_tries, is_fatal, is_compensated }
        }
        4 | 5 => Node::Sleep { id, secs: dice.below(40) },
        6 | 7 => {
            let within = (dice.below(2) == 0).then(|| dice.below(60));
            Node::Wait { id, signal: few(dice), within }
        }
        8 => Node::Child { id, secs: dice.below(40) },
        9 => Node::Now { id },
        10 => {
            if dice.below(2) == 0 {
                Node::Random { id }
            } else {
                Node::Patch { id }
            }
        }
        11 | 12 => {
            let branches = (0..2 + dice.below(2)).map(|_| nodes(dice, depth - 1, next_id)).collect();
            Node::Join { id, branches }
        }
        13 | 14 => {
            let branches = (0..2 + dice.below(2)).map(|_| nodes(dice, depth - 1, next_id)).collect();
            Node::Race { id, branches }
        }
        15 => Node::Loop { times: 1 + few(dice), body: nodes(dice, depth - 1, next_id) },
        _ => Node::IfEven { then: nodes(dice, depth - 1, next_id), other: nodes(dice, depth - 1, next_id) },
    }
}

/// Signals that come from outside: second, name, value.
pub(crate) fn signals(dice: &mut Dice) -> Vec<(i64, u32, u64)> {
    let mut signals: Vec<_> = (0..dice.below(10))
        .map(|_| {
            let at = i64::try_from(dice.below(120)).unwrap();
            (at, u32::try_from(dice.below(3)).unwrap(), dice.below(100))
        })
        .collect();
    signals.sort_by_key(|(at, _, _)| *at);
    signals
}

/// What a step returns, and what a child: some number that follows from the key.
pub(crate) fn value_of(key: &str) -> u64 {
    key.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))) % 100
}

/// How the interpretation of a program ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) trace: Vec<String>,
    /// None if it waits for ever.
    pub(crate) end: Option<Result<u64, String>>,
    /// Keys of steps that were undone, in order.
    pub(crate) undone: Vec<String>,
}
