//! What clients do: each call is made in a machine's process, may take long or die with it, and the model
//! learns what it was answered.

use std::sync::Arc;

use backroom::{Draft, Error, ErrorKind, JobId, Retention};

use crate::{drafts::REPLIES, handlers::Stage, machine::Machine};

/// What a client asks about one job.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    /// To stop.
    Cancel,
    /// To run again, or now.
    Retry,
    /// To go.
    Delete,
}

/// What a client asks about one queue.
#[derive(Debug, Clone, Copy)]
pub enum Setting {
    /// To be served no more.
    Pause,
    /// To be served again.
    Resume,
    /// To keep its finished jobs so long.
    Retain(Retention),
}

/// Enqueues a job.
pub fn enqueue(machine: &mut Machine, stage: &Arc<Stage>, draft: Draft) {
    let (client, stage, name) = (machine.backroom.clone(), Arc::clone(stage), machine.name.clone());
    machine.does(async move {
        match client.enqueue_draft(draft).await {
            Ok(handle) => stage.model().acknowledged(handle.id(), handle.is_new()),
            Err(error) => judge(&stage, &name, &error),
        }
    });
}

/// Asks something of a job.
pub fn ask(machine: &mut Machine, stage: &Arc<Stage>, id: JobId, ask: Ask) {
    let (client, stage, name) = (machine.backroom.clone(), Arc::clone(stage), machine.name.clone());
    stage.model().asked(id, |known| match ask {
        Ask::Cancel => known.asked_cancel = true,
        Ask::Retry => known.asked_retry = true,
        Ask::Delete => known.asked_delete = true,
    });
    machine.does(async move {
        let answer = match ask {
            Ask::Cancel => client.cancel(id).await,
            Ask::Retry => client.retry(id).await,
            Ask::Delete => client.delete(id).await,
        };
        if let Err(error) = answer {
            judge(&stage, &name, &error);
        }
    });
}

/// Takes messages and acknowledges them, or dies in between; gives some back now and then.
pub fn take(machine: &mut Machine, stage: &Arc<Stage>, turn: u64) {
    let (client, stage, name) = (machine.backroom.clone(), Arc::clone(stage), machine.name.clone());
    machine.does(async move {
        let limit = usize::try_from(turn % 5 + 1).unwrap_or(1);
        let taken = match client.replies(REPLIES).take(limit).await {
            Ok(taken) => taken,
            Err(error) => return judge(&stage, &name, &error),
        };
        stage.model().delivered(taken.messages());
        let ended = match turn % 7 {
            // It does not come back to them: the lease ends.
            0 => Ok(()),
            1 => taken.release().await,
            _ => taken.acknowledge().await.map(drop),
        };
        if let Err(error) = ended {
            judge(&stage, &name, &error);
        }
    });
}

/// Changes a setting of a queue.
pub fn set(machine: &mut Machine, stage: &Arc<Stage>, queue: &'static str, setting: Setting) {
    let (client, stage, name) = (machine.backroom.clone(), Arc::clone(stage), machine.name.clone());
    machine.does(async move {
        let answer = match setting {
            Setting::Pause => client.pause(queue).await,
            Setting::Resume => client.resume(queue).await,
            Setting::Retain(retention) => client.retain(queue, retention).await,
        };
        if let Err(error) = answer {
            judge(&stage, &name, &error);
        }
    });
}

/// Some errors are the world's answer, others are bugs.
fn judge(stage: &Stage, machine: &str, error: &Error) {
    let mut model = stage.model();
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::KeyHeld { .. } | ErrorKind::NotFound | ErrorKind::Refused => {
            model.tell(format!("             {machine:<6} is answered: {error}"));
        }
        _ => model.wrong(format!("{machine} was answered: {error}")),
    }
}
