//! Keys and secrets.

use std::time::Duration;

use thoughtwire_store::{Key, NewTicket, Scope};

use super::on_every_backend;
use crate::support::{at, user};

#[tokio::test]
async fn keys_are_listed_oldest_first_and_deleted_once() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let key = |id: &str, created: i64| Key {
            id: id.parse().unwrap(),
            user: user(),
            name: Some("laptop".into()),
            scopes: vec![Scope::Chat, Scope::Offer],
            created_at: at(created),
            expires_at: Some(at(99)),
        };
        store.keys().add(key("k-2", 2), "digest-2".into()).await.unwrap();
        store.keys().add(key("k-1", 1), "digest-1".into()).await.unwrap();
        let same = store.keys().add(key("k-3", 3), "digest-1".into()).await;
        assert!(same.is_err(), "a digest is one key's");
        let store = place.reopen(store).await;
        let all = store.keys().list().await.unwrap();
        let expected = [("digest-1".into(), key("k-1", 1)), ("digest-2".into(), key("k-2", 2))];
        assert_eq!(all, expected);
        let id = "k-1".parse().unwrap();
        assert!(store.keys().delete(&id).await.unwrap());
        assert!(!store.keys().delete(&id).await.unwrap());
        assert_eq!(store.keys().list().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_the_same_until_it_is_replaced() {
    on_every_backend(async |place| {
        let store = place.open().await;
        assert_eq!(store.keys().secret("login", b"one".to_vec()).await.unwrap(), b"one");
        let store = place.reopen(store).await;
        assert_eq!(store.keys().secret("login", b"two".to_vec()).await.unwrap(), b"one");
        assert_eq!(store.keys().secret("other", b"two".to_vec()).await.unwrap(), b"two");
        store.keys().replace_secret("login", b"three".to_vec()).await.unwrap();
        assert_eq!(store.keys().secret("login", Vec::new()).await.unwrap(), b"three");
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_taken_once_while_it_lasts() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ticket = |digest: &str, seconds: u64| NewTicket {
            digest: digest.into(),
            bearer: "{\"user\":\"ada\"}".into(),
            lasts: Duration::from_secs(seconds),
        };
        let take = async |digest: &str| store.keys().take_ticket(digest.into()).await.unwrap();
        assert!(store.keys().add_ticket(ticket("one", 60), 2).await.unwrap());
        assert!(store.keys().add_ticket(ticket("two", 60), 2).await.unwrap());
        assert!(!store.keys().add_ticket(ticket("three", 60), 2).await.unwrap(), "there are two");
        assert_eq!(take("one").await.as_deref(), Some("{\"user\":\"ada\"}"));
        assert_eq!((take("one").await, take("three").await), (None, None));
        // One that has ended makes room.
        assert!(store.keys().add_ticket(ticket("short", 0), 2).await.unwrap());
        assert!(store.keys().add_ticket(ticket("three", 60), 2).await.unwrap());
        assert_eq!(take("short").await, None);
        assert!(take("three").await.is_some());
        // A new secret ends all.
        store.keys().replace_secret("login", b"new".to_vec()).await.unwrap();
        assert_eq!(take("two").await, None);
    })
    .await;
}
