//! Buckets of S3, and of services that speak its language.
//!
//! `object_store` gets the credentials and signs. The listing is read here, because `object_store` cannot represent every key: one such
//! as `a//b` would make the whole listing fail.

use std::sync::Arc;

use object_store::{
    aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider},
    client::HttpRequest,
};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::Deserialize;

use super::listing::{Object, Page};
use crate::{
    SourceError,
    aws::AwsAccess,
    azure::said,
    cloud::{Answer, Cloud, Refusal, repeats, request},
};

/// A bucket. It has no `Debug`, because it has secrets.
#[derive(Clone)]
pub(super) struct S3 {
    cloud: Cloud,
    bucket: String,
    /// Where the bucket is.
    url: Url,
    region: String,
    credentials: AwsCredentialProvider,
}

impl S3 {
    /// `endpoint` is for services that are not Amazon's. It may have `{bucket}` where the name of the bucket belongs, and otherwise the
    /// name becomes the path.
    pub(super) fn new(
        cloud: Cloud,
        bucket: &str,
        endpoint: Option<&str>,
        access: &AwsAccess,
    ) -> Result<Self, SourceError> {
        let wrong = |why: String, remedy: &str| {
            SourceError::new(format!("use the bucket {bucket}: {why}")).remedy(remedy)
        };
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        if let (Some(key), Some(secret)) = (&access.access_key, &access.secret_key) {
            builder = AmazonS3Builder::new()
                .with_bucket_name(bucket)
                .with_access_key_id(key)
                .with_secret_access_key(secret);
        }
        let found = builder.get_config_value(&AmazonS3ConfigKey::Region);
        let found = found.or_else(|| std::env::var("AWS_REGION").ok());
        let region = access.region.clone().or(found).unwrap_or_else(|| "us-east-1".into());
        let endpoint = endpoint.map(str::to_owned).or_else(|| std::env::var("AWS_ENDPOINT_URL").ok());
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let place = match endpoint.contains("{bucket}") {
            true => endpoint.replace("{bucket}", bucket),
            false => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        };
        let url = Url::parse(&place).map_err(|error| wrong(error.to_string(), "correct `endpoint`"))?;
        let built = builder
            .with_region(&region)
            .with_http_connector(cloud.connector())
            .with_retry(repeats())
            .build()
            .map_err(|error| wrong(said(&error), "correct `access_key` and `secret_key`"))?;
        let credentials = Arc::clone(built.credentials());
        Ok(Self { cloud, bucket: bucket.to_owned(), url, region, credentials })
    }

    pub(super) async fn page(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Page, SourceError> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("list-type", "2")
            // XML cannot have every key.
            .append_pair("encoding-type", "url")
            .append_pair("max-keys", &limit.to_string())
            .append_pair("prefix", prefix);
        if let Some(token) = from {
            url.query_pairs_mut().append_pair("continuation-token", token);
        }
        let what = format!("list the bucket {}", self.bucket);
        let answer = self.cloud.send(&what, || self.signed(&url)).await?;
        if !answer.is_success() {
            return Err(self.refused(&what, &answer));
        }
        read(&answer.text()).map_err(|why| {
            SourceError::new(format!("{what}: {why}"))
                .remedy("see whether `endpoint` leads to a service that speaks S3")
        })
    }

    async fn signed(&self, url: &Url) -> Result<HttpRequest, SourceError> {
        let failed = |error: object_store::Error| {
            SourceError::new(format!("get credentials for the bucket {}: {}", self.bucket, said(&error))).remedy(
                "set `access_key` and `secret_key`, or let the variables AWS_… or the role of this machine name them",
            )
        };
        let mut request = request("GET", url)?;
        let credential = self.credentials.get_credential().await.map_err(failed)?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(failed)?;
        Ok(request)
    }

    fn refused(&self, what: &str, answer: &Answer) -> SourceError {
        let refusal = Refusal::of(answer);
        let remedy = match (refusal.status, refusal.code.as_str()) {
            (404, _) => {
                "make the bucket, or correct `url`; no object counts as removed until it is there".to_owned()
            }
            (_, "RequestTimeTooSkewed") => "set the clock of this machine".to_owned(),
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken") => {
                "check `access_key` and `secret_key`, or the variables AWS_…".to_owned()
            }
            (301 | 307 | 400, "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed") => {
                format!("set `region` to that of the bucket; it is {} now", self.region)
            }
            (401 | 403, _) => {
                "check `access_key` and `secret_key`, and let them list the bucket (s3:ListBucket)".to_owned()
            }
            _ => "it is tried again in a while".to_owned(),
        };
        SourceError::new(format!("{what}: {refusal}")).remedy(remedy)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_continuation_token: Option<String>,
    /// Present if the service did as it was asked.
    #[serde(default)]
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    #[serde(default, rename = "ETag")]
    etag: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    last_modified: String,
}

/// Reads a page of a listing.
fn read(text: &str) -> Result<Page, String> {
    let list: ListBucketResult =
        quick_xml::de::from_str(text).map_err(|error| format!("the answer is no listing: {error}"))?;
    if list.is_truncated && list.next_continuation_token.is_none() {
        return Err("the listing goes on, and does not say how".into());
    }
    let is_encoded = list.encoding_type.is_some_and(|kind| kind.eq_ignore_ascii_case("url"));
    let object = |contents: Contents| {
        let key = if is_encoded { decoded(&contents.key)? } else { contents.key };
        Ok(Object {
            key,
            etag: contents.etag.trim_matches('"').to_owned(),
            size: contents.size,
            modified_at: contents.last_modified.parse().ok(),
        })
    };
    let objects = list.contents.into_iter().map(object).collect::<Result<_, String>>()?;
    Ok(Page { objects, next: list.next_continuation_token.filter(|_| list.is_truncated) })
}

/// A key as `encoding-type=url` writes it.
fn decoded(key: &str) -> Result<String, String> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|key| key.into_owned()).map_err(|_| format!("the key {key:?} is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_of_a_listing_as_they_were_put_in() {
        let page = read(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>\
             <Contents><Key>a%20b%2Bc</Key><ETag>&quot;e1&quot;</ETag><Size>7</Size>\
             <LastModified>2026-11-27T07:35:28.000Z</LastModified></Contents>\
             <Contents><Key>a+b</Key><ETag>\"e2\"</ETag><Size>0</Size><LastModified>x</LastModified></Contents>\
             <Contents><Key>x%0Ay//..</Key><Size>0</Size></Contents>\
             <NextContinuationToken>t+/=</NextContinuationToken></ListBucketResult>",
        )
        .unwrap();
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["a b+c", "a b", "x\ny//.."]);
        assert_eq!(page.objects[0].etag, "e1");
        assert_eq!(page.objects[0].modified_at, Some("2026-11-27T07:35:28Z".parse().unwrap()));
        assert_eq!(page.objects[1].modified_at, None);
        assert_eq!(page.next.as_deref(), Some("t+/="));
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        let empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert_eq!(read(empty), Ok(Page::default()));
        let plus = "<ListBucketResult><Contents><Key>a+b</Key></Contents></ListBucketResult>";
        assert_eq!(read(plus).unwrap().objects[0].key, "a+b", "it was not encoded");
        for wrong in [
            "",
            "<html></html",
            "<ListBucketResult><Contents><Key>a</Key>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%FF</Key></Contents></ListBucketResult>",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
