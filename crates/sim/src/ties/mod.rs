//! Work made of jobs under the same fate as plain jobs: workflows with children and signals, graphs, batches.
//!
//! There is no second model of it. Every run of a workflow must see what earlier runs saw, in the same order; each answer of a
//! journal, each signal and each compensation counts once; and at the end every job has finished as its edges, its batch and
//! its journal say. Start reading at [`driver`]; [`judge`] says what is wrong.

pub mod children;
pub mod driver;
pub mod judge;
pub mod office;
pub mod program;
