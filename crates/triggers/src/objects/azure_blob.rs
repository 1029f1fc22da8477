//! Containers of Azure Blob Storage.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::Deserialize;

use super::listing::{Object, Page};
use crate::{
    SourceError,
    azure::{Account, AzureAccess, refused},
    cloud::Cloud,
};

/// A container. It has no `Debug`, because it has secrets.
#[derive(Clone)]
pub(super) struct AzureBlob {
    account: Account,
    container: String,
    url: Url,
}

impl AzureBlob {
    /// `endpoint` is for clouds of their own and for emulators; it includes the account there.
    pub(super) fn new(
        cloud: Cloud,
        account: &str,
        container: &str,
        endpoint: Option<&str>,
        access: &AzureAccess,
    ) -> Result<Self, SourceError> {
        let base = endpoint.map(str::to_owned);
        let base = base.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
        let url = Url::parse(&format!("{}/{container}", base.trim_end_matches('/'))).map_err(|error| {
            SourceError::new(format!("use the container {container}: {error}")).remedy("correct `endpoint`")
        })?;
        let account = Account::new(cloud, account, access)?;
        Ok(Self { account, container: container.to_owned(), url })
    }

    pub(super) async fn page(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Page, SourceError> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("restype", "container")
            .append_pair("comp", "list")
            .append_pair("maxresults", &limit.to_string());
        if !prefix.is_empty() {
            url.query_pairs_mut().append_pair("prefix", prefix);
        }
        if let Some(marker) = from {
            url.query_pairs_mut().append_pair("marker", marker);
        }
        let what = format!("list the container {}", self.container);
        let answer = self.account.send(&what, "GET", &url, "").await?;
        if !answer.is_success() {
            let missing =
                "make the container, or correct `url`; no object counts as removed until it is there";
            return Err(refused(&what, &answer, missing));
        }
        read(&answer.text()).map_err(|why| {
            SourceError::new(format!("{what}: {why}"))
                .remedy("see whether `endpoint` leads to Azure Blob Storage")
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnumerationResults {
    #[serde(default)]
    blobs: Blobs,
    #[serde(default)]
    next_marker: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blobs {
    #[serde(default)]
    blob: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    #[serde(default)]
    properties: Properties,
}

#[derive(Deserialize)]
struct Name {
    /// Whether XML cannot have the name, so that it is percent-encoded.
    #[serde(default, rename = "@Encoded")]
    encoded: bool,
    #[serde(default, rename = "$text")]
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Properties {
    etag: String,
    #[serde(rename = "Content-Length")]
    content_length: u64,
    #[serde(rename = "Last-Modified")]
    last_modified: String,
    resource_type: String,
}

/// Reads a page of a listing.
fn read(text: &str) -> Result<Page, String> {
    let list: EnumerationResults = quick_xml::de::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("the answer is no listing: {error}"))?;
    let object = |blob: Blob| {
        let Name { encoded, text } = blob.name;
        let key = if encoded {
            let decoded = percent_decode_str(&text).decode_utf8();
            decoded.map_err(|_| format!("the name {text:?} is no UTF-8"))?.into_owned()
        } else {
            text
        };
        let times = jiff::fmt::rfc2822::DateTimeParser::new();
        Ok(Object {
            key,
            etag: blob.properties.etag.trim_matches('"').to_owned(),
            size: blob.properties.content_length,
            modified_at: times.parse_timestamp(&blob.properties.last_modified).ok(),
        })
    };
    // Accounts with real folders list those, too.
    let blobs = list.blobs.blob.into_iter().filter(|blob| blob.properties.resource_type != "directory");
    let objects = blobs.map(object).collect::<Result<_, String>>()?;
    Ok(Page { objects, next: list.next_marker.filter(|marker| !marker.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_of_a_listing_as_they_were_put_in() {
        let page = read(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a/\" \
             ContainerName=\"c\"><Blobs><Blob><Name>a b+%41&amp;&lt;</Name><Properties>\
             <Last-Modified>Fri, 27 Nov 2026 07:35:28 GMT</Last-Modified><Etag>0x8D1</Etag>\
             <Content-Length>7</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>\
             <Blob><Name Encoded=\"true\">x%EF%BF%BEy</Name><Properties><Etag>0x8D2</Etag></Properties></Blob>\
             <Blob><Name>d</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob>\
             </Blobs><NextMarker>2!72!abc</NextMarker></EnumerationResults>",
        )
        .unwrap();
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["a b+%41&<", "x\u{fffe}y"]);
        assert_eq!(page.objects[0].size, 7);
        assert_eq!(page.objects[0].modified_at, Some("2026-11-27T07:35:28Z".parse().unwrap()));
        assert_eq!(page.next.as_deref(), Some("2!72!abc"));
        let empty = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        assert_eq!(read(empty), Ok(Page::default()));
        assert!(read("<html>").is_err());
    }
}
