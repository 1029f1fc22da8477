//! Endpoints of callbacks that have ended are remembered until they are enabled.

use std::sync::Arc;

use super::env::Env;
use crate::store::EndedEndpoint;

fn ended(env: &Env, url: &str, secs: i64) -> EndedEndpoint {
    EndedEndpoint { url: url.into(), reason: format!("the receiver of {url} answered 410"), ended_at: env.at(secs) }
}

async fn end(env: &Env, endpoint: &EndedEndpoint) {
    env.store.end_endpoint(Arc::new(endpoint.clone())).await.expect("end an endpoint");
}

async fn list(env: &Env, after: Option<&str>, limit: usize) -> Vec<EndedEndpoint> {
    env.store.ended_endpoints(after.map(str::to_owned), limit).await.expect("list endpoints")
}

async fn find(env: &Env, url: &str) -> Option<EndedEndpoint> {
    env.store.ended_endpoint(url).await.expect("find an endpoint")
}

pub(super) async fn an_endpoint_that_ended_stays_ended_as_it_was(env: Env) {
    let url = "https://example.com/hook?a=%20ü";
    assert_eq!(find(&env, url).await, None);
    let first = ended(&env, url, 1);
    end(&env, &first).await;
    end(&env, &EndedEndpoint { reason: "another answer".into(), ..ended(&env, url, 2) }).await;
    assert_eq!(find(&env, url).await, Some(first));
    assert_eq!(find(&env, "https://example.com/hook").await, None, "the query counts");
    assert_eq!(find(&env, "https://EXAMPLE.com/hook?a=%20ü").await, None, "as does the case");
}

pub(super) async fn an_endpoint_that_is_enabled_is_forgotten(env: Env) {
    let one = ended(&env, "https://one.example/", 1);
    let other = ended(&env, "https://other.example/", 1);
    end(&env, &one).await;
    end(&env, &other).await;
    for _ in 0..2 {
        env.store.enable_endpoint(&one.url).await.expect("enable an endpoint");
        assert_eq!(find(&env, &one.url).await, None);
    }
    assert_eq!(list(&env, None, 10).await, [other]);
    env.store.enable_endpoint("https://unknown.example/").await.expect("enable an endpoint");
}

pub(super) async fn ended_endpoints_come_by_url_in_pages(env: Env) {
    let all: Vec<_> = ["http://a.example/", "http://b.example/", "http://b.example/x", "https://a.example/"]
        .iter()
        .zip([3, 1, 4, 2])
        .map(|(url, secs)| ended(&env, url, secs))
        .collect();
    for endpoint in all.iter().rev() {
        end(&env, endpoint).await;
    }
    assert_eq!(list(&env, None, 10).await, all);
    assert_eq!(list(&env, None, 2).await, all[..2]);
    assert_eq!(list(&env, Some(&all[1].url), 2).await, all[2..]);
    assert_eq!(list(&env, Some(&all[3].url), 2).await, []);
}
