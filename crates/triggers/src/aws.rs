//! How a program proves to Amazon, and to services that speak its language, who it is.

/// Without keys: the variables `AWS_…`, or the role of the machine.
#[derive(Clone, Default)]
pub struct AwsAccess {
    /// The id of the access key.
    pub access_key: Option<String>,
    /// The secret of the access key.
    pub secret_key: Option<String>,
    /// The region. Default: that of the variables, or `us-east-1`.
    pub region: Option<String>,
}

impl std::fmt::Debug for AwsAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = if self.secret_key.is_some() { "set" } else { "not set" };
        f.debug_struct("AwsAccess")
            .field("access_key", &self.access_key)
            .field("secret_key", &secret)
            .field("region", &self.region)
            .finish()
    }
}
