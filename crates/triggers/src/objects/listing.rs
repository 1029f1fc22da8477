//! The objects of a bucket, a page at a time and in the order of their keys.

use jiff::Timestamp;

use super::{azure_blob::AzureBlob, s3::S3};
use crate::SourceError;

/// What can list the objects of a bucket. It has no `Debug`, because it has secrets.
#[derive(Clone)]
pub(super) enum Listing {
    S3(S3),
    Azure(AzureBlob),
}

/// An object, as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) modified_at: Option<Timestamp>,
}

/// Objects in the order of their keys, and what asks for those behind them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) next: Option<String>,
}

impl Listing {
    /// Objects whose keys begin with `prefix`: the first ones, or those that `from` asks for.
    pub(super) async fn page(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Page, SourceError> {
        match self {
            Self::S3(s3) => s3.page(prefix, from, limit).await,
            Self::Azure(azure) => azure.page(prefix, from, limit).await,
        }
    }
}
