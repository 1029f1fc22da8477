//! A durable workflow waits for a person, with a deadline. The first request is approved; no person decides about the second.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use backroom::{Backroom, Failure, Job, Worker, WorkflowContext};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Expense {
    what: String,
}

impl Job for Expense {
    const KIND: &'static str = "expense";
    type Output = String;
}

#[derive(Serialize, Deserialize)]
struct Decision {
    by: String,
    is_approved: bool,
}

/// How long a person has. In a real program: days.
const DEADLINE: Duration = Duration::from_millis(1500);

async fn expense(expense: Expense, ctx: WorkflowContext) -> Result<String, Failure> {
    // Every client can read this at any time, without a worker.
    ctx.publish(&"waits for a decision")?;
    let decision: Option<Decision> = ctx.wait_signal_within("decision", DEADLINE).await?;
    let outcome = match decision {
        Some(Decision { by, is_approved: true }) => format!("{} is approved by {by}", expense.what),
        Some(Decision { by, is_approved: false }) => format!("{} is declined by {by}", expense.what),
        None => format!("{} is declined: no decision in time", expense.what),
    };
    ctx.publish(&outcome)?;
    Ok(outcome)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:approval.db").await?;
    let worker = Worker::new(&backroom).workflow(expense).start().await?;

    let chair = backroom.enqueue(Expense { what: "a chair".into() }).await?;
    let boat = backroom.enqueue(Expense { what: "a boat".into() }).await?;
    chair.signal("decision", &Decision { by: "Ada".into(), is_approved: true }).await?;
    println!("{}", chair.wait().await?);
    println!("{}", boat.wait().await?);
    worker.stop().await?;
    Ok(())
}
