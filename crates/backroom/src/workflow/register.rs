//! Registers workflows on a worker.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;

use super::{codes::Codes, context::WorkflowContext, drive::drive};
use crate::{
    Context, Failure, FromState, Job, Worker,
    handler::Handler,
    handler_state::States,
    worker::{check_state, decode, encode, names_of, take_state},
};

impl Worker {
    /// Runs jobs of type `J` as durable workflows. The code runs again from the top after a crash, a deploy or a long wait, and finds
    /// what it has done in the journal: see [`WorkflowContext`].
    ///
    /// An error that the code returns ends the workflow: what it has done is undone by the compensations of its steps, and the job is
    /// discarded. So what may be tried again belongs into a step. A panic, a timeout and [`Failure::retry_after`] end the attempt
    /// only, and the job is tried again as any other. Attempts and crashes count since the last answer that was recorded.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use backroom::{Backroom, Failure, Job, Worker, WorkflowContext};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order { id: u64 }
    /// # impl Job for Order { const KIND: &'static str = "order"; type Output = String; }
    /// # async fn charge(_: u64) -> Result<String, Failure> { Ok("receipt".into()) }
    /// async fn order(order: Order, ctx: WorkflowContext) -> Result<String, Failure> {
    ///     let receipt = ctx.step("charge").run(|| charge(order.id)).await?;
    ///     let parcel: String = ctx.wait_signal("shipped").await?;
    ///     Ok(format!("{receipt}, {parcel}"))
    /// }
    ///
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let backroom = Backroom::open("memory:").await?;
    /// let worker = Worker::new(&backroom).workflow(order).start().await?;
    /// let job = backroom.enqueue(Order { id: 7 }).await?;
    /// backroom.signal(job.id(), "shipped", &"parcel 9").await?;
    /// assert_eq!(job.wait().await?, "receipt, parcel 9");
    /// # worker.stop().await?;
    /// # Ok(()) }
    /// ```
    pub fn workflow<J, F, R>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, WorkflowContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        self.workflow_taking::<J, _, _, _>(|_| Ok(()), |_| (), move |job, context, ()| handler(job, context))
    }

    /// [`workflow`](Worker::workflow) with state, as of [`handle_with`](Worker::handle_with).
    pub fn workflow_with<J, S, F, R>(self, handler: F) -> Self
    where
        J: Job,
        S: FromState,
        F: Fn(J, WorkflowContext, S) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        self.workflow_taking::<J, _, _, _>(check_state::<S>, take_state::<S>, handler)
    }

    fn workflow_taking<J, S, F, R>(
        self,
        check: fn(&States) -> Result<(), &'static str>,
        take: fn(&Context) -> S,
        handler: F,
    ) -> Self
    where
        J: Job,
        S: Send + 'static,
        F: Fn(J, WorkflowContext, S) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let codes_of = move |context: &Context| {
            let (handler, context) = (Arc::clone(&handler), context.clone());
            let start = move |flow: WorkflowContext| {
                let (handler, context) = (Arc::clone(&handler), context.clone());
                async move {
                    let (job, state) = (decode::<J>(&context)?, take(&context));
                    encode(&handler(job, flow, state).await?)
                }
                .boxed()
            };
            Codes(vec![(None, Box::new(start))])
        };
        self.register(&names_of::<J>(), handler_of::<J>(check, codes_of))
    }
}

/// The handler of a workflow with this code.
pub(super) fn handler_of<J: Job>(
    check: fn(&States) -> Result<(), &'static str>,
    codes_of: impl Fn(&Context) -> Codes + Send + Sync + 'static,
) -> Handler {
    let run = move |context: Context| {
        let codes = codes_of(&context);
        async move { drive(context, &codes).await }.boxed()
    };
    Handler {
        retry: J::retry(),
        is_blocking: false,
        timeout: None,
        seal: J::SEALED,
        wind_up: Duration::ZERO,
        check_state: check,
        run: Box::new(run),
    }
}
