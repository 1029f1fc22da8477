//! What the writer takes into one transaction.

use std::sync::mpsc::Receiver;

use super::operation::Operation;
use crate::Error;

/// Operations in one transaction.
const OPERATIONS_MAX: usize = 256;
/// Rows at which a transaction takes no more operations, so that the first caller does not wait long for the last.
const ROWS_MAX: usize = 2000;

/// What callers send to the writer.
pub(super) enum Message {
    Write(Box<dyn Operation>),
    Close,
}

/// Operations that are committed together.
pub(super) struct Group {
    pub(super) operations: Vec<Box<dyn Operation>>,
    /// Whether the store is to be closed after it.
    pub(super) close: bool,
}

impl Group {
    /// `first` and what waits behind it, in order. It ends behind the operation with which it has [`OPERATIONS_MAX`]
    /// operations, [`ROWS_MAX`] rows or `bytes_max` bytes, so a single operation of any size passes.
    pub(super) fn gather(first: Message, waiting: &Receiver<Message>, bytes_max: usize) -> Self {
        let (mut operations, mut rows, mut bytes) = (Vec::new(), 0usize, 0usize);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Write(operation) => {
                    let weight = operation.weight();
                    rows = rows.saturating_add(weight.rows);
                    bytes = bytes.saturating_add(weight.bytes);
                    operations.push(operation);
                }
                Message::Close => return Self { operations, close: true },
            }
            let is_full = operations.len() >= OPERATIONS_MAX || rows >= ROWS_MAX || bytes >= bytes_max;
            next = if is_full { None } else { waiting.try_recv().ok() };
        }
        Self { operations, close: false }
    }

    /// Without an operation.
    pub(super) fn none(close: bool) -> Self {
        Self { operations: Vec::new(), close }
    }
}

/// Whether an answer promises that what was written survives the loss of power.
pub(super) fn promises(group: &[Box<dyn Operation>]) -> bool {
    group.iter().any(|operation| operation.weight().durable)
}

/// Gives each caller its answer.
pub(super) fn answer(group: Vec<Box<dyn Operation>>) {
    for operation in group {
        operation.answer();
    }
}

/// Answers each caller with this error.
pub(super) fn refuse(mut group: Vec<Box<dyn Operation>>, error: &Error) {
    for operation in &mut group {
        operation.fail(error.again());
    }
    answer(group);
}

/// The same for the operations of the group and all that wait behind it. Whether the store is to be closed.
///
/// All are gathered before the first is answered. So one that its caller repeats on that answer is not among them, and
/// has a whole wait of its own.
pub(super) fn refuse_with_waiting(
    mut group: Vec<Box<dyn Operation>>,
    waiting: &Receiver<Message>,
    error: &Error,
) -> bool {
    let mut close = false;
    while let Ok(message) = waiting.try_recv() {
        match message {
            Message::Write(operation) => group.push(operation),
            Message::Close => {
                close = true;
                break;
            }
        }
    }
    refuse(group, error);
    close
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::mpsc::{Sender, channel},
    };

    use rusqlite::Connection;

    use super::{super::hints::Hints, super::operation::Weight, *};

    struct Heavy(Weight);

    impl Operation for Heavy {
        fn weight(&self) -> Weight {
            self.0
        }

        fn is_withdrawn(&self) -> bool {
            false
        }

        fn run(&mut self, _: &Connection, _: &Path, _: &mut Hints) -> bool {
            true
        }

        fn fail(&mut self, _: Error) {}

        fn answer(self: Box<Self>) {}
    }

    fn write(rows: usize, bytes: usize) -> Message {
        Message::Write(Box::new(Heavy(Weight::durable(rows).bytes(bytes))))
    }

    /// An operation that its caller repeats when it is answered.
    struct Repeated(Sender<Message>);

    impl Operation for Repeated {
        fn weight(&self) -> Weight {
            Weight::durable(1)
        }

        fn is_withdrawn(&self) -> bool {
            false
        }

        fn run(&mut self, _: &Connection, _: &Path, _: &mut Hints) -> bool {
            true
        }

        fn fail(&mut self, _: Error) {}

        fn answer(self: Box<Self>) {
            let sender = self.0.clone();
            assert!(sender.send(Message::Write(self)).is_ok());
        }
    }

    #[test]
    fn an_operation_that_is_repeated_when_it_was_refused_has_a_wait_of_its_own() {
        let (sender, receiver) = channel();
        let repeated = || Box::new(Repeated(sender.clone()));
        for _ in 0..2 {
            assert!(sender.send(Message::Write(repeated())).is_ok());
        }
        let error = Error::new(crate::ErrorKind::Unavailable, "the lock is held");
        assert!(!refuse_with_waiting(vec![repeated()], &receiver, &error));
        assert_eq!(receiver.try_iter().count(), 3);
    }

    /// How many operations each group takes until none waits.
    fn groups(messages: Vec<Message>, bytes_max: usize) -> Vec<usize> {
        let (sender, receiver): (Sender<Message>, _) = channel();
        for message in messages {
            assert!(sender.send(message).is_ok());
        }
        let mut groups = Vec::new();
        while let Ok(first) = receiver.try_recv() {
            groups.push(Group::gather(first, &receiver, bytes_max).operations.len());
        }
        groups
    }

    #[test]
    fn a_group_ends_behind_the_operation_that_fills_it_with_bytes() {
        let messages = [40, 40, 40, 500, 1, 99, 1].map(|bytes| write(1, bytes)).into();
        assert_eq!(groups(messages, 100), [3, 1, 2, 1]);
    }

    #[test]
    fn a_group_ends_behind_the_operation_that_fills_it_with_rows() {
        let messages = [1999, 1, 1, 5000, 1].map(|rows| write(rows, 0)).into();
        assert_eq!(groups(messages, 100), [2, 2, 1]);
    }

    #[test]
    fn a_group_has_a_bounded_number_of_operations() {
        let messages = (0..300).map(|_| write(1, 0)).collect();
        assert_eq!(groups(messages, 100), [256, 44]);
    }

    #[test]
    fn no_operation_behind_the_close_is_taken() {
        let (sender, receiver) = channel();
        for message in [Message::Close, write(1, 1)] {
            assert!(sender.send(message).is_ok());
        }
        let group = Group::gather(write(1, 1), &receiver, 100);
        assert_eq!((group.operations.len(), group.close), (1, true));
    }
}
