//! Accounts of Azure Storage: credentials, signatures, and what an error asks for. Blobs and queues share them.

use object_store::{
    azure::{AzureAuthorizer, AzureConfigKey, AzureCredentialProvider, MicrosoftAzureBuilder, split_sas},
    client::{HttpRequest, HttpRequestBody},
};
use reqwest::Url;

use crate::{
    SourceError,
    cloud::{Answer, Cloud, Refusal, repeats, request},
};

/// How a program proves to Azure Storage who it is. Without a key and a signature: the variables `AZURE_…`, or the identity of the
/// machine.
#[derive(Clone, Default)]
pub struct AzureAccess {
    /// The account key, in base64.
    pub account_key: Option<String>,
    /// A shared access signature: `sv=…&sig=…`.
    pub sas: Option<String>,
}

impl std::fmt::Debug for AzureAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = |secret: &Option<String>| if secret.is_some() { "set" } else { "not set" };
        f.debug_struct("AzureAccess")
            .field("account_key", &set(&self.account_key))
            .field("sas", &set(&self.sas))
            .finish()
    }
}

/// An account that requests are sent to. It has no `Debug`, because it has secrets.
#[derive(Clone)]
pub(crate) struct Account {
    cloud: Cloud,
    name: String,
    credentials: AzureCredentialProvider,
}

impl Account {
    pub(crate) fn new(cloud: Cloud, name: &str, access: &AzureAccess) -> Result<Self, SourceError> {
        let wrong = |error: object_store::Error| {
            SourceError::new(format!("use the account {name}: {}", said(&error)))
                .remedy("correct `account_key` or `sas`")
        };
        let mut builder = MicrosoftAzureBuilder::new();
        if let Some(key) = &access.account_key {
            builder = builder.with_access_key(key);
        } else if let Some(sas) = &access.sas {
            let pairs = split_sas(sas.trim_start_matches('?')).map_err(wrong)?;
            builder = builder.with_sas_authorization(pairs);
        } else {
            builder = MicrosoftAzureBuilder::from_env();
        }
        let built = builder
            .with_account(name)
            // Only the credentials of what is built are used, and those do not depend on the container.
            .with_config(AzureConfigKey::ContainerName, "container")
            .with_http_connector(cloud.connector())
            .with_retry(repeats())
            .build()
            .map_err(wrong)?;
        let credentials = std::sync::Arc::clone(built.credentials());
        Ok(Self { cloud, name: name.to_owned(), credentials })
    }

    /// Sends a request that is signed for each try.
    pub(crate) async fn send(
        &self,
        what: &str,
        method: &str,
        url: &Url,
        body: &str,
    ) -> Result<Answer, SourceError> {
        self.cloud.send(what, || self.signed(method, url, body)).await
    }

    async fn signed(&self, method: &str, url: &Url, body: &str) -> Result<HttpRequest, SourceError> {
        let mut request = request(method, url)?;
        if !body.is_empty() {
            let length = body.len().into();
            request.headers_mut().insert(reqwest::header::CONTENT_LENGTH, length);
            request.headers_mut().insert(
                reqwest::header::CONTENT_TYPE,
                reqwest::header::HeaderValue::from_static("application/xml"),
            );
            *request.body_mut() = HttpRequestBody::from(body.to_owned());
        }
        let failed = |error: object_store::Error| {
            SourceError::new(format!("get credentials for the account {}: {}", self.name, said(&error))).remedy(
                "set `account_key` or `sas`, or let the variables AZURE_… or the identity of this machine name one",
            )
        };
        let credential = self.credentials.get_credential().await.map_err(failed)?;
        AzureAuthorizer::new(&credential, &self.name).try_authorize(&mut request).map_err(failed)?;
        Ok(request)
    }
}

/// What an answer of Azure asks for. `missing` says what to do if the container or the queue does not exist.
pub(crate) fn refused(what: &str, answer: &Answer, missing: &str) -> SourceError {
    let refusal = Refusal::of(answer);
    let remedy = match (refusal.status, refusal.code.as_str()) {
        (404, _) => missing,
        (401 | 403, _) => {
            "check `account_key` or `sas`, what it permits here, and the clock of this machine, which may be 15 minutes off at most"
        }
        _ => "it is tried again in a while",
    };
    SourceError::new(format!("{what}: {refusal}")).remedy(remedy)
}

/// An error of `object_store` with its causes.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut deeper = error.source();
    while let Some(cause) = deeper {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        deeper = cause.source();
    }
    backroom::core::bounds::clip(&text, 500)
}
