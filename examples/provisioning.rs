//! A durable workflow with children: a server is provisioned, with its disk and its address beside each other. The last step fails, so what
//! was made is taken down again, in reverse.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use backroom::{Backroom, Context, Failure, Job, Worker, WorkflowContext};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Provision {
    name: String,
}

impl Job for Provision {
    const KIND: &'static str = "provision";
    type Output = ();
}

/// One resource: a job of its own, which may run on another machine.
#[derive(Serialize, Deserialize)]
struct Make {
    what: String,
}

impl Job for Make {
    const KIND: &'static str = "make";
    type Output = String;
}

async fn make(job: Make, _: Context) -> Result<String, Failure> {
    Ok(format!("the {}", job.what))
}

async fn provision(args: Provision, ctx: WorkflowContext) -> Result<(), Failure> {
    let made = ctx
        .join_all("resources", ["disk", "address"], |ctx, what| async move {
            let made = ctx.child("make", &Make { what: what.into() }).await?;
            // Recorded as a step, so that it is undone if a later line fails.
            ctx.step("register")
                .compensate(|made: String| async move {
                    println!("taken down: {made}");
                    Ok(())
                })
                .run(|| async { Ok(made.clone()) })
                .await
        })
        .await?;
    for resource in made {
        println!("made: {}", resource?);
    }
    ctx.step("boot")
        .max_tries(1)
        .run(|| async { Err::<(), _>(Failure::discard(format!("{} does not boot", args.name))) })
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:provisioning.db").await?;
    let worker = Worker::new(&backroom).workflow(provision).handle(make).start().await?;
    let job = backroom.enqueue(Provision { name: "alpha".into() }).await?;
    if let Err(error) = job.wait().await {
        println!("not done: {error}");
    }
    worker.stop().await?;
    Ok(())
}
