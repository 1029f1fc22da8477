//! A bucket of an emulator, for tests: what other programs do with it.

use std::{sync::Arc, time::Duration};

use backroom_testbed::{AZURITE_ACCOUNT, AZURITE_KEY, Emulator};
use backroom_triggers::{AwsAccess, AzureAccess, Objects};
use object_store::{
    aws::{AwsAuthorizer, AwsCredential},
    azure::{AzureAccessKey, AzureAuthorizer, AzureCredential},
    client::{HttpRequest, HttpRequestBody},
};
use reqwest::Url;
use tempfile::TempDir;

pub(crate) const KEY: &str = "AKIATEST";
pub(crate) const SECRET: &str = "a-secret-of-tests";

pub(crate) struct Bucket {
    emulator: Arc<std::sync::Mutex<Emulator>>,
    url: String,
    is_azure: bool,
    name: String,
    key: (String, String),
    client: reqwest::Client,
    _folder: Arc<TempDir>,
}

impl Bucket {
    pub(crate) fn s3() -> Self {
        Self::of(|_| Emulator::moto().unwrap(), false)
    }

    /// Azure Blob Storage. It checks every signature.
    pub(crate) fn azure() -> Self {
        Self::of(|folder| Emulator::azure_blob(folder.path()).unwrap(), true)
    }

    /// The same container once more, with TLS.
    pub(crate) fn with_tls(mut self, certificate: &std::path::Path, key: &std::path::Path) -> Self {
        self.stop();
        let emulator = Emulator::azure_blob_with_tls(self._folder.path(), certificate, key).unwrap();
        self.url = emulator.url();
        self.emulator = Arc::new(std::sync::Mutex::new(emulator));
        self
    }

    fn of(start: impl FnOnce(&TempDir) -> Emulator, is_azure: bool) -> Self {
        // The clients of tests need one; the sources bring their own.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let emulator = start(&folder);
        let url = emulator.url();
        Self {
            emulator: Arc::new(std::sync::Mutex::new(emulator)),
            url,
            is_azure,
            name: "in-bucket".into(),
            key: (KEY.into(), SECRET.into()),
            client: reqwest::Client::new(),
            _folder: Arc::new(folder),
        }
    }

    /// S3 that knows one access key and refuses others.
    pub(crate) fn s3_that_checks_keys() -> Self {
        let bucket = Self::s3();
        let url = bucket.url.clone();
        // Before a request of the runtime, so that the tests stay plain.
        let made = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(user_with_a_key(&url))
        });
        Self { key: made.join().unwrap(), ..bucket }
    }

    pub(crate) fn named(&self, name: &str) -> Self {
        Self {
            emulator: Arc::clone(&self.emulator),
            url: self.url.clone(),
            is_azure: self.is_azure,
            name: name.into(),
            key: self.key.clone(),
            client: self.client.clone(),
            _folder: Arc::clone(&self._folder),
        }
    }

    /// A source of its objects with the right keys, which lists often.
    pub(crate) fn source(&self, prefix: &str) -> Objects {
        self.source_at(prefix, &self.url)
    }

    /// The same through another address.
    pub(crate) fn source_at(&self, prefix: &str, endpoint: &str) -> Objects {
        let (name, (key, secret)) = (&self.name, &self.key);
        let url = match self.is_azure {
            true => format!("azure://{AZURITE_ACCOUNT}/{name}/{prefix}"),
            false => format!("s3://{name}/{prefix}"),
        };
        Objects::new(&url)
            .unwrap()
            .endpoint(endpoint)
            .aws(AwsAccess {
                access_key: Some(key.clone()),
                secret_key: Some(secret.clone()),
                region: Some("us-east-1".into()),
            })
            .azure(AzureAccess { account_key: Some(AZURITE_KEY.into()), sas: None })
            .rescan(Duration::from_millis(200))
    }

    pub(crate) fn port(&self) -> u16 {
        self.emulator.lock().unwrap().port()
    }

    /// It writes to its disk what it has in memory.
    pub(crate) fn stop(&mut self) {
        self.emulator.lock().unwrap().stop();
    }

    pub(crate) fn restart(&mut self) {
        self.emulator.lock().unwrap().restart().unwrap();
    }

    /// Puts so many objects at once, with a number for `#` in their keys. Does not wait until they are there.
    pub(crate) fn put_many(&self, key: &str, count: usize, content: &str) {
        self.emulator.lock().unwrap().put_many(&self.name, key, count, content).unwrap();
    }

    pub(crate) async fn make(&self) {
        let query = if self.is_azure { "?restype=container" } else { "" };
        self.send("PUT", &format!("{}/{}{query}", self.url, self.name), None).await;
    }

    pub(crate) async fn make_with(&self, objects: &[(&str, &str)]) {
        self.make().await;
        for (key, content) in objects {
            self.put(key, content).await;
        }
    }

    pub(crate) async fn put(&self, key: &str, content: &str) {
        self.send("PUT", &self.url_of(key), Some(content)).await;
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.send("DELETE", &self.url_of(key), None).await;
    }

    fn url_of(&self, key: &str) -> String {
        use std::fmt::Write as _;
        let mut url = format!("{}/{}/", self.url, self.name);
        for byte in key.bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || b"-_~/".contains(&byte);
            // A dot is encoded, so that no client takes two of them away.
            if is_plain { url.push(char::from(byte)) } else { write!(url, "%{byte:02X}").unwrap() }
        }
        url
    }

    async fn send(&self, method: &str, url: &str, body: Option<&str>) {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = url.parse().unwrap();
        if let Some(body) = body {
            *request.body_mut() = HttpRequestBody::from(body.to_owned());
        }
        let length = body.map_or(0, str::len);
        request.headers_mut().insert("content-length", length.into());
        if self.is_azure {
            if body.is_some() {
                request.headers_mut().insert("x-ms-blob-type", "BlockBlob".parse().unwrap());
            }
            let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(AZURITE_KEY).unwrap());
            AzureAuthorizer::new(&credential, AZURITE_ACCOUNT).try_authorize(&mut request).unwrap();
        } else {
            let (key_id, secret_key) = self.key.clone();
            let credential = AwsCredential { key_id, secret_key, token: None };
            AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None).unwrap();
        }
        let (parts, _) = request.into_parts();
        let url: Url = parts.uri.to_string().parse().unwrap();
        let request = self.client.request(parts.method, url).headers(parts.headers);
        let answer = request.body(body.unwrap_or_default().to_owned()).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {url}: {status}: {text}", url = parts.uri);
    }
}

/// Makes a user who may do everything, and has moto check keys from then on.
async fn user_with_a_key(url: &str) -> (String, String) {
    let client = reqwest::Client::new();
    let iam = async |form: &str| {
        let credential = AwsCredential { key_id: KEY.into(), secret_key: SECRET.into(), token: None };
        let mut request = HttpRequest::new(HttpRequestBody::from(form.to_owned()));
        *request.method_mut() = "POST".parse().unwrap();
        *request.uri_mut() = format!("{url}/").parse().unwrap();
        request.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        AwsAuthorizer::new(&credential, "iam", "us-east-1").try_authorize(&mut request, None).unwrap();
        let (parts, _) = request.into_parts();
        let request = client.post(format!("{url}/")).headers(parts.headers).body(form.to_owned());
        request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    };
    iam("Action=CreateUser&UserName=reader&Version=2010-05-08").await;
    let all = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%7D";
    iam(&format!(
        "Action=PutUserPolicy&UserName=reader&PolicyName=all&PolicyDocument={all}&Version=2010-05-08"
    ))
    .await;
    let made = iam("Action=CreateAccessKey&UserName=reader&Version=2010-05-08").await;
    let part = |name: &str| {
        let (_, rest) = made.split_once(&format!("<{name}>")).unwrap();
        rest.split_once('<').unwrap().0.replace("&amp;", "&")
    };
    client
        .post(format!("{url}/moto-api/reset-auth"))
        .body("0")
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    (part("AccessKeyId"), part("SecretAccessKey"))
}
